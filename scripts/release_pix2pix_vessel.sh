#!/usr/bin/env bash
# Train, release and measure pix2pix_vessel: every figure of its model card comes from here.
#
#   scripts/release_pix2pix_vessel.sh DATA [OUTPUT]     DATA holds CHASE_DB1, HRF and FIVES; OUTPUT: runs/release
#
# About a quarter of an hour on two CPU cores. The weights of an interrupted run resume with the printed command and --resume true.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
data="$(realpath "${1:?where are CHASE_DB1, HRF and FIVES?}")"
output="$(realpath -m "${2:-$root/runs/release}")"
python="$("$root/scripts/setup.sh")"
configs="$root/bundles/pix2pix_vessel/configs"
eyes="['$data/CHASE_DB1','$data/HRF','$data/FIVES']"

bundle() {
    printf '\n== %s\n' "$*"
    "$python" -m monai.bundle run "$@"
}
evaluate() {
    bundle --config_file "['$configs/train.json','$configs/evaluate.json']" --dataset_dir "$eyes" --checkpoint "$1" \
        --output_dir "$2"
}

# 1. Where discs and foveas lie among vessels: learned on phantoms, which are many and exact.
[[ -d "$output/phantoms" ]] || "$python" -m retina_monai phantom "$output/phantoms" --count 300 --size 512 --seed 1
bundle training --config_file "$configs/train.json" --dataset_dir "$output/phantoms" --output_dir "$output/pretraining" \
    --max_epochs 8 --val_interval 2

# 2. What eyes look like: the training splits of the three sets together. Few epochs: 44 eyes are soon known by heart.
main=(--dataset_dir "$eyes" --initial_weights "$output/pretraining/model.pt" --max_epochs 14 --val_interval 1)
bundle training --config_file "$configs/train.json" --output_dir "$output/training" "${main[@]}"

# 3. The same, trained with L1 alone.
bundle training --config_file "$configs/train.json" --output_dir "$output/l1" "${main[@]}" \
    --adversarial_weight 0 --spectrum_weight 0

# 4. Into the bundle, in half precision, and the figures on the test eyes.
"$python" -m retina_monai release "$output/training" pix2pix_vessel
evaluate "$root/bundles/pix2pix_vessel/models/model.pt" "$output/evaluation"
evaluate "$output/l1/model.pt" "$output/evaluation-l1"
"$python" "$root/scripts/spectrum_floor.py" --dataset_dir "$eyes" | tee "$output/evaluation/spectrum_floor.md"
