#!/usr/bin/env bash
# Train, release and measure pix2pix_vessel. This script produces all figures of its model card.
#
#   scripts/release_pix2pix_vessel.sh DATA [OUTPUT]     DATA holds CHASE_DB1, HRF and FIVES; OUTPUT: runs/release
#
# Takes about an hour and a half on two CPU cores. To resume an interrupted training, repeat the printed command with
# --resume true.
source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" "CHASE_DB1, HRF and FIVES" release "$@"
configs="$root/bundles/pix2pix_vessel/configs"
eyes="['$data/CHASE_DB1','$data/HRF','$data/FIVES']"

evaluate() {
    bundle --config_file "['$configs/train.json','$configs/evaluate.json']" --dataset_dir "$eyes" --checkpoint "$1" \
        --output_dir "$2"
}

# 1. Learn the positions of discs and foveas relative to the vessels on phantoms, which are numerous and exact.
[[ -d "$output/phantoms" ]] || "$python" -m retina_monai phantom "$output/phantoms" --count 300 --size 512 --seed 1
bundle training --config_file "$configs/train.json" --dataset_dir "$output/phantoms" --output_dir "$output/pretraining" \
    --max_epochs 8 --val_interval 8 --faithfulness_weight 20

# 2. Learn the appearance of eyes on the training splits of all three sets. The weights of the last epoch are kept,
#    because with --val_interval 5 four validation eyes cannot separate the selection of epochs 40, 45 and 50.
main=(--dataset_dir "$eyes" --initial_weights "$output/pretraining/model.pt" --max_epochs 50 --val_interval 50)
bundle training --config_file "$configs/train.json" --output_dir "$output/training" "${main[@]}"

# 3. Repeat step 2 with L1 alone.
bundle training --config_file "$configs/train.json" --output_dir "$output/l1" "${main[@]}" \
    --adversarial_weight 0 --spectrum_weight 0 --faithfulness_weight 0

# 4. Release the weights in half precision, and evaluate on the test eyes.
"$python" -m retina_monai release "$output/training" pix2pix_vessel --overwrite true
evaluate "$root/bundles/pix2pix_vessel/models/model.pt" "$output/evaluation"
evaluate "$output/l1/model.pt" "$output/evaluation-l1"
"$python" "$root/scripts/spectrum_floor.py" --dataset_dir "$eyes" | tee "$output/evaluation/spectrum_floor.md"

# 5. Answer the four questions for each set, on vessel maps of test eyes and on warped maps of training eyes.
reports="$root/bundles/pix2pix_vessel/docs/reports"
mkdir -p "$reports"
cp "$output/evaluation/report.json" "$reports/evaluation.json"
cp "$output/evaluation-l1/report.json" "$reports/evaluation_l1.json"
ask() { # data set, name of the report, families, options of synthesize
    local set="$data/$1" name="$2" families="$3"
    shift 3
    "$python" -m retina_monai synthesize --input_dir "$set" --output_dir "$output/$name" "$@"
    "$python" -m retina_monai evaluate --synthetic_dir "$output/$name" --real_dir "$set" --families "$families" \
        --mode full --cache_dir "$output/evaluations" --output_dir "$output/report-$name"
    sed "s|$output/||; s|$data/||" "$output/report-$name/report.json" >"$reports/$name.json" # without local paths
}
for set in CHASE_DB1 HRF FIVES; do
    ask "$set" "test_$set" image,distribution,faithfulness --split test --appearance "$set"
    ask "$set" "warped_$set" all --split training --augment 3 --appearance "random:$set"
done
"$python" "$root/scripts/report_figures.py" "$reports"
