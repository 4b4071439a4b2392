#!/usr/bin/env bash
# Train, release and measure iternet_vessel. This script produces all figures of its model card.
#
#   scripts/release_iternet_vessel.sh DATA [OUTPUT]     OUTPUT: runs/release_iternet
#
# DATA holds CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD. Takes about three hours on one CPU core with bfloat16. To resume
# an interrupted training, repeat the printed command with --resume true.
source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" "CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD" \
    release_iternet "$@"
bundle="$root/bundles/iternet_vessel"
first="['$data/CHASE_DB1','$data/HRF','$data/FIVES']"
all="['$data/CHASE_DB1','$data/HRF','$data/HRF_rest','$data/FIVES']"
others="['$data/HRF','$data/FIVES']"

evaluate() { # data sets, weights, output folder, size of the field of view in pixels, further options
    bundle --config_file "['$bundle/configs/train.json','$bundle/configs/evaluate.json']" --dataset_dir "$1" \
        --checkpoint "$2" --output_dir "$3" --size "$4" "${@:5}"
}

# 1. Train on the training splits of three sets, then of all four, and keep the weights with the best Dice on validation
#    eyes.
bundle training --config_file "$bundle/configs/train.json" --dataset_dir "$first" --output_dir "$output/first" \
    --val_interval 2
bundle training --config_file "$bundle/configs/train.json" --dataset_dir "$all" --output_dir "$output/training" \
    --val_interval 2 --initial_weights "$output/first/model.pt"

# 2. Train without CHASE_DB1 to test the network on an unseen camera. Its field of view is 30 degrees instead of about
#    50, so training eyes are enlarged up to twofold.
bundle training --config_file "$bundle/configs/train.json" --dataset_dir "$others" --output_dir "$output/cross-set" \
    --val_interval 3 --max_epochs 15 --largest_eye 2.0

# 3. Release the weights in half precision, and evaluate on the test eyes at their original size.
"$python" -m retina_monai release "$output/training" iternet_vessel --overwrite true
evaluate "$first" "$bundle/models/model.pt" "$output/evaluation" 768
evaluate "['$data/HRF_rest']" "$bundle/models/model.pt" "$output/evaluation-HRF_rest" 768
evaluate "$data/IDRiD" "$bundle/models/model.pt" "$output/evaluation-IDRiD" 768 \
    "--validate#dataset#data" "\$@datalist['training'] + @datalist['validation'] + @datalist['test']"
evaluate "['$data/CHASE_DB1']" "$output/cross-set/model.pt" "$output/evaluation-cross-set" 768

# 4. Measure the network as a judge of photographs of 256 and of 512 pixels.
for size in 256 512; do
    "$python" "$root/scripts/judge_figures.py" --dataset_dir "$all" --size "$size" | tee "$output/evaluation/judge_$size.md"
done
