#!/usr/bin/env bash
# Train, release and measure pix2pix_vessel. This script produces all figures of its model card.
#
#   scripts/release_pix2pix_vessel.sh DATA [OUTPUT]     OUTPUT: runs/release
#
# DATA holds CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD_grading. Takes about eight hours on two CPU cores. To resume an
# interrupted training, repeat the printed command with --resume true.
source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" "CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD_grading" \
    release "$@"
configs="$root/bundles/pix2pix_vessel/configs"

# 1. Find vessel maps and discs of IDRiD's photographs without retinopathy or with mild retinopathy.
label_eyes

# 2. Learn the positions of foveas relative to vessels and disc on phantoms of all grades, which are numerous and exact.
any="$output/phantoms/any" named="$output/phantoms/named"
mixed=(--count 300 --size 512 --grade mixed --myopia mixed)
[[ -d "$any" ]] || "$python" -m retina_monai phantom "$any" "${mixed[@]}" --seed 31
[[ -d "$named" ]] || "$python" -m retina_monai phantom "$named" "${mixed[@]}" --seed 32 --camera mixed
small="['$configs/train.json','$configs/size_256.json']"
bundle training --config_file "$small" --dataset_dir "['$named','$any']" --output_dir "$output/pretraining" \
    --max_epochs 2 --val_interval 2 --faithfulness_weight 20

# 3. Learn the appearance of eyes on the training splits of all sets, first at 256 px and then at 512 px. Many photographs
#    of FIVES are hazy, so that this camera is drawn half as often as the others.
all=(--dataset_dir "[$drawn,'$output/IDRiD']" --found_weight 1.0 --camera_weights "{'FIVES': 0.5}")
bundle training --config_file "$small" "${all[@]}" --output_dir "$output/training-256" \
    --initial_weights "$output/pretraining/model.pt" --max_epochs 30 --val_interval 10
bundle training --config_file "$configs/train.json" "${all[@]}" --output_dir "$output/training" \
    --initial_weights "$output/training-256/model.pt" --max_epochs 12 --val_interval 4

# 4. Release the weights in half precision, and evaluate on the test eyes.
"$python" -m retina_monai release "$output/training" pix2pix_vessel --overwrite true
bundle --config_file "['$configs/train.json','$configs/evaluate.json']" --dataset_dir "[$drawn]" \
    --checkpoint "$root/bundles/pix2pix_vessel/models/model.pt" --output_dir "$output/evaluation"
"$python" "$root/scripts/spectrum_floor.py" --dataset_dir "[$drawn]" | tee "$output/evaluation/spectrum_floor.md"

# 5. Answer the questions of the report for each camera, on vessel maps of test eyes and on warped maps of training eyes.
#    Discs of sets without disc masks are those that unet_disc finds in the photographs.
reports="$root/bundles/pix2pix_vessel/docs/reports"
mkdir -p "$reports"
cp "$output/evaluation/report.json" "$reports/evaluation.json"
find_all_discs
ask_all pix2pix_vessel "$reports"
"$python" "$root/scripts/report_figures.py" "$reports"
