# Functions and variables shared by the release scripts. Source it with
#
#   source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" DATASETS FOLDER "$@"
#
# DATASETS are the names of the data sets that DATA must contain, for the error message. FOLDER is the default output
# folder inside runs/. "$@" are the arguments of the script, DATA and OUTPUT. Sets root, data, output and python.
#
# shellcheck shell=bash disable=SC2034
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
data="$(realpath "${3:?give the folder of $1}")"
output="$(realpath -m "${4:-$root/runs/$2}")"
python="$("$root/scripts/setup.sh")"

bundle() { # arguments of monai.bundle run
    printf '\n== %s\n' "$*"
    "$python" -m monai.bundle run "$@"
}

drawn="'$data/CHASE_DB1','$data/HRF','$data/HRF_rest','$data/FIVES'" # sets with drawn vessel maps

label_eyes() { # find vessel maps and discs of IDRiD's photographs without retinopathy or with mild retinopathy
    "$root/scripts/label_photographs.sh" "$data/IDRiD_grading" "$output/IDRiD" --most_grade 1
}

draw_phantoms() { # folder, seed, options: phantoms of all grades, in which structures are numerous and exact
    local folder="$1" seed="$2"
    shift 2
    [[ -d "$folder" ]] ||
        "$python" -m retina_monai phantom "$folder" --count 300 --size 512 --grade mixed --myopia mixed \
            --seed "$seed" "$@"
}

find_discs() { # data set, output folder
    bundle --config_file "$root/bundles/unet_disc/configs/inference.json" --input_dir "$data/$1" --output_dir "$2"
}

find_all_discs() { # discs of sets without disc masks, found in their photographs
    find_discs CHASE_DB1 "$output/labelled/CHASE_DB1"
    find_discs FIVES "$output/labelled/FIVES"
    find_discs HRF "$output/parts/HRF"
    find_discs HRF_rest "$output/parts/HRF_rest"
    mkdir -p "$output/labelled/HRF"
    "$python" -m retina_monai prepare "$output/parts/HRF" "$output/parts/HRF_rest" \
        --output "$output/labelled/HRF/datalist.json" --overwrite true
    ln -sfn "$output/IDRiD" "$output/labelled/IDRiD"
}

ask() { # bundle or chain, folder for reports, size, data set, name of the report, families, mode, options of synthesize
    local generator="$1" reports="$2" size="$3" real="$output/labelled/$4" name="$5" families="$6" mode="$7"
    local sets="$output/$generator"
    shift 7
    mkdir -p "$reports"
    "$python" -m retina_monai synthesize "$generator" --input_dir "$real" --output_dir "$sets/$name" "$@"
    "$python" -m retina_monai evaluate --synthetic_dir "$sets/$name" --real_dir "$real" --families "$families" \
        --mode "$mode" --size "$size" --cache_dir "$output/evaluations" --output_dir "$sets/report-$name"
    sed "s|$output/labelled/||; s|$sets/||" "$sets/report-$name/report.json" >"$reports/$name.json"
}

ask_all() { # bundle or chain, folder for reports, size in pixels
    for set in CHASE_DB1 HRF FIVES; do
        ask "$1" "$2" "$3" "$set" "test_$set" image,distribution,faithfulness quick --split test --appearance "$set"
        ask "$1" "$2" "$3" "$set" "warped_$set" image,distribution,faithfulness,privacy full --split training --augment 3 \
            --appearance "random:$set"
    done
    ask "$1" "$2" "$3" IDRiD test_IDRiD image,distribution,faithfulness quick --split test --appearance random:IDRiD
    ask "$1" "$2" "$3" IDRiD warped_IDRiD image,distribution,privacy full --split training --augment 1 \
        --appearance random:IDRiD
}
