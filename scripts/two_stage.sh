#!/usr/bin/env bash
# Train and compare two-stage and direct generation. Writes docs/two_stage.md with its picture, and the weights of
# pix2pix_color_vessel and lama_fundus.
#
#   scripts/two_stage.sh DATA [OUTPUT [METHOD...]]   DATA holds CHASE_DB1, HRF and FIVES; OUTPUT: runs/two_stage
#
# scripts/comparison/methods.py defines the methods and their trainings. With names of methods (two_stage, direct), only
# these are trained and measured, so that each can run on its own core. Without, all are, and the page is written.
# Takes hours on one core. Repeat the command to resume an interrupted run; finished steps are skipped.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
data="$(realpath "${1:?give the folder of CHASE_DB1, HRF and FIVES}")"
output="$(realpath -m "${2:-$root/runs/two_stage}")"
methods=("${@:3}")
python="$("$root/scripts/setup.sh")"
export OMP_NUM_THREADS=1 # times are measured on one core

[[ -d "$output/phantoms" ]] || "$python" -m retina_monai phantom "$output/phantoms" --count 300 --size 512 --seed 1
PYTHONPATH="$root/scripts" "$python" -m comparison "$data" "$output" "${methods[@]}"
if [[ ${#methods[@]} -eq 0 ]]; then
    "$python" "$root/scripts/two_stage.py" "$root/docs/two_stage"
fi
