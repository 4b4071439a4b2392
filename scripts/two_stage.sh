#!/usr/bin/env bash
# Which way from vessel map to photograph keeps the vessels, two-stage or direct pix2pix? docs/two_stage.md and its
# picture, and the weights of pix2pix_color_vessel and lama_fundus.
#
#   scripts/two_stage.sh DATA [OUTPUT [METHOD...]]   DATA holds CHASE_DB1, HRF and FIVES; OUTPUT: runs/two_stage
#
# The methods and their trainings are in scripts/comparison/methods.py. With names of methods (two_stage, direct), these
# alone are trained and measured, so that each can have its own core; without, all are, and the page is written.
# Hours on one core. What is finished is not done again, and what was interrupted resumes: the same command goes on.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
data="$(realpath "${1:?where are CHASE_DB1, HRF and FIVES?}")"
output="$(realpath -m "${2:-$root/runs/two_stage}")"
methods=("${@:3}")
python="$("$root/scripts/setup.sh")"
export OMP_NUM_THREADS=1 # minutes and seconds are those of one core

[[ -d "$output/phantoms" ]] || "$python" -m retina_monai phantom "$output/phantoms" --count 300 --size 512 --seed 1
PYTHONPATH="$root/scripts" "$python" -m comparison "$data" "$output" "${methods[@]}"
if [[ ${#methods[@]} -eq 0 ]]; then
    "$python" "$root/scripts/two_stage.py" "$root/docs/two_stage"
fi
