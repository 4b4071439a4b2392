#!/usr/bin/env bash
# Turn photographs without masks into a data set that trains generators: vessel maps are segmented by iternet_vessel and
# discs by unet_disc. Eyes whose masks are implausible are left out and listed (scripts/plausible_eyes.py).
#
#   scripts/label_photographs.sh PHOTOGRAPHS OUTPUT [OPTIONS]
#
# PHOTOGRAPHS is a data set with a recognised layout, whose patients, splits, grades, lateralities and fields of view are
# kept, or a folder of photographs. OUTPUT is the data set. OPTIONS are those of scripts/plausible_eyes.py, for example
# --most_grade 1. To resume an interrupted run, repeat the command. A photograph takes about four seconds on one core.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
photographs="$(realpath "${1:?give the folder of the photographs}")"
output="$(realpath -m "${2:?give the output folder}")"
python="$("$root/scripts/setup.sh")"

segment() { # bundle, input folder, output folder
    "$python" -m monai.bundle run --config_file "$root/bundles/$1/configs/inference.json" --input_dir "$2" \
        --output_dir "$3"
}
segment iternet_vessel "$photographs" "$output/vessels"
segment unet_disc "$output/vessels" "$output/labelled"
"$python" "$root/scripts/plausible_eyes.py" "$output" "${@:3}"
