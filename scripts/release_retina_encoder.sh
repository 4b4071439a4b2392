#!/usr/bin/env bash
# Train, release and measure retina_encoder: every figure of its model card comes from here.
#
#   scripts/release_retina_encoder.sh DATA [OUTPUT]   DATA: CHASE_DB1, HRF, FIVES, IDRiD; OUTPUT: runs/release_encoder
#
# About half an hour on one CPU core with bfloat16, five minutes of it for the phantoms. An interrupted training goes on
# with its command and --resume true.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
data="$(realpath "${1:?where are CHASE_DB1, HRF, FIVES and IDRiD?}")"
output="$(realpath -m "${2:-$root/runs/release_encoder}")"
python="$("$root/scripts/setup.sh")"
configs="$root/bundles/retina_encoder/configs"
eyes="'$data/CHASE_DB1','$data/HRF','$data/FIVES'"
any="$output/phantoms/any" named="$output/phantoms/named"

bundle() {
    printf '\n== %s\n' "$*"
    "$python" -m monai.bundle run "$@"
}
evaluate() { # data sets, where to write, more
    bundle --config_file "['$configs/train.json','$configs/evaluate.json']" --dataset_dir "$1" --output_dir "$2" \
        "${@:3}"
}

# 1. Phantoms, healthy and ill, half of them by cameras that are like those of known sets.
ill=(--count 300 --size 512 --grade mixed --myopia mixed)
[[ -d "$any" ]] || "$python" -m retina_monai phantom "$any" "${ill[@]}" --seed 11
[[ -d "$named" ]] || "$python" -m retina_monai phantom "$named" "${ill[@]}" --seed 12 --camera mixed

# 2. Phantoms and the training splits of three sets together; kept are the weights that tell most of validation eyes.
bundle training --config_file "$configs/train.json" --dataset_dir "[$eyes,'$any','$named']" \
    --output_dir "$output/training" --batch_size 8 --max_epochs 50 --val_interval 10

# 3. Into the bundle, in half precision; then the figures: on test eyes, on a set that was never seen, on phantoms.
"$python" -m retina_monai release "$output/training" retina_encoder --overwrite true
evaluate "[$eyes]" "$output/evaluation"
evaluate "$data/IDRiD" "$output/evaluation-idrid" --splits "['training','validation','test']"
evaluate "['$any','$named']" "$output/evaluation-phantoms"
