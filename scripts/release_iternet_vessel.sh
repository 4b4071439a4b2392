#!/usr/bin/env bash
# Train, release and measure iternet_vessel: every figure of its model card comes from here.
#
#   scripts/release_iternet_vessel.sh DATA [OUTPUT]     DATA holds CHASE_DB1, HRF and FIVES; OUTPUT: runs/release_iternet
#
# About an hour and a half on one CPU core with bfloat16. An interrupted training resumes with the printed command and
# --resume true.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
data="$(realpath "${1:?where are CHASE_DB1, HRF and FIVES?}")"
output="$(realpath -m "${2:-$root/runs/release_iternet}")"
python="$("$root/scripts/setup.sh")"
bundle="$root/bundles/iternet_vessel"
all="['$data/CHASE_DB1','$data/HRF','$data/FIVES']"
others="['$data/HRF','$data/FIVES']"

bundle() {
    printf '\n== %s\n' "$*"
    "$python" -m monai.bundle run "$@"
}
evaluate() { # data sets, weights, where to write, pixels of the field of view
    bundle --config_file "['$bundle/configs/train.json','$bundle/configs/evaluate.json']" --dataset_dir "$1" \
        --checkpoint "$2" --output_dir "$3" --size "$4"
}

# 1. The training splits of the three sets together; the weights with the best Dice on validation eyes are kept.
bundle training --config_file "$bundle/configs/train.json" --dataset_dir "$all" --output_dir "$output/training" \
    --val_interval 2

# 2. The same without CHASE_DB1, to see what the network is worth on a camera that it has never seen. It sees 30 degrees
# where the others see about 50: eyes are drawn up to twice as large.
bundle training --config_file "$bundle/configs/train.json" --dataset_dir "$others" --output_dir "$output/cross-set" \
    --val_interval 3 --max_epochs 15 --largest_eye 2.0

# 3. Into the bundle, in half precision, and the figures on the test eyes, at each photograph's own size.
"$python" -m retina_monai release "$output/training" iternet_vessel --overwrite true
evaluate "$all" "$bundle/models/model.pt" "$output/evaluation" 768
evaluate "['$data/CHASE_DB1']" "$output/cross-set/model.pt" "$output/evaluation-cross-set" 768

# 4. As a judge: photographs of 256 pixels, enlarged again.
"$python" "$root/scripts/judge_figures.py" --dataset_dir "$all" | tee "$output/evaluation/judge.md"
