#!/usr/bin/env bash
# Set up, generate photographs from vessel maps with the released weights, train, evaluate, and list the output.
set -euo pipefail

usage() {
    cat <<'USAGE'
scripts/quickstart.sh [--dataset_dir DIR]... [--output_dir DIR] [--epochs N]

  --dataset_dir DIR   train on this data set instead of phantoms; for several sets repeat it or give "['A','B']"
  --output_dir DIR    output folder; defaults to runs/quickstart in the repository
  --epochs N          number of training epochs; defaults to 12
USAGE
}
fail() {
    printf '%s\n' "quickstart: $*" >&2
    exit 2
}

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
output="$root/runs/quickstart"
epochs=12
datasets=()

while [[ $# -gt 0 ]]; do
    case "$1" in --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;; esac
    case "$1" in
        -h | --help)
            usage
            exit
            ;;
        --dataset_dir | --output_dir | --epochs)
            [[ $# -ge 2 && -n "$2" ]] || fail "$1 needs a value."
            set -- "$1" "${2/#\~\//$HOME/}" "${@:3}"
            ;;
        *) fail "unknown option $1: see scripts/quickstart.sh --help." ;;
    esac
    case "$1" in
        --dataset_dir)
            if [[ -d "$2" ]]; then
                datasets+=("$(realpath "$2")")
            elif [[ "$2" == \[*\] ]]; then
                datasets+=("$2")
            else
                fail "no such directory: $2 (--dataset_dir)."
            fi
            ;;
        --output_dir) output="$(realpath -m "$2")" ;;
        --epochs)
            [[ "$2" =~ ^[1-9][0-9]*$ ]] || fail "--epochs must be a positive integer, got $2."
            epochs="$2"
            ;;
    esac
    shift 2
done

python="$("$root/scripts/setup.sh")"
configs="$root/bundles/pix2pix_vessel/configs"

step() { printf '\n== %s\n' "$*"; }
# Combine paths and lists of paths to one Python list for monai.bundle.
as_list() {
    "$python" -c 'import ast, sys
print([path for text in sys.argv[1:] for path in (ast.literal_eval(text) if text.startswith("[") else [text])])' "$@"
}
bundle() { "$python" -m monai.bundle run "$@"; }

data=()
if [[ ${#datasets[@]} -gt 0 ]]; then
    data=(--dataset_dir "$(as_list "${datasets[@]}")")
fi

step "1 of 3: photographs from vessel maps, with the released weights"
"$python" -m retina_monai synthesize two_stage --input_dir "$root/docs/examples/vessels" \
    --fov_dir "$root/docs/examples/fovs" --output_dir "$output/generated" --appearance random --seed 1
printf '%s\n' "The photographs are in $output/generated"

step "2 of 3: training, $epochs epochs"
bundle training --config_file "$(as_list "$configs/train.json" "$configs/size_256.json")" --output_dir "$output/training" \
    --max_epochs "$epochs" "${data[@]}"

step "3 of 3: evaluation of the trained network"
bundle --config_file "$(as_list "$configs/train.json" "$configs/size_256.json" "$configs/evaluate.json")" \
    --output_dir "$output/evaluation" --checkpoint "$output/training/model.pt" "${data[@]}"

cat <<SUMMARY

== Done
Generated with the released weights   $output/generated
Vessel map, generated, real           $output/training/pictures
Figures and their table               $output/evaluation/table.md
MLflow, in a browser                  "$(dirname "$python")/mlflow" ui --backend-store-uri "sqlite:///$output/training/mlruns.db"
A few epochs only show that everything works; docs/README.md of the bundle describes the training of the released weights.
SUMMARY
