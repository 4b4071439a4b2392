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

# 2. Learn the positions of foveas relative to vessels and disc on phantoms.
any="$output/phantoms/any" named="$output/phantoms/named"
draw_phantoms "$any" 31
draw_phantoms "$named" 32 --camera mixed
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
ask_all pix2pix_vessel "$reports" 512

# 6. Train without CHASE_DB1, at 256 px and for fewer epochs, and generate from its vessel maps what users of a new camera
#    get. The report is compared with that of the weights trained on all sets at 256 px.
bundle training --config_file "$small" --dataset_dir "['$data/HRF','$data/HRF_rest','$data/FIVES','$output/IDRiD']" \
    --found_weight 1.0 --camera_weights "{'FIVES': 0.5}" --output_dir "$output/without-CHASE_DB1" \
    --initial_weights "$output/pretraining/model.pt" --max_epochs 16 --val_interval 8
new_camera() { # name of the report, folder of the training
    ask pix2pix_vessel "$reports" 256 CHASE_DB1 "$1" image,distribution,faithfulness quick --split test --size 256 \
        --appearance average --checkpoint "$2/model.pt"
}
new_camera unseen_CHASE_DB1 "$output/without-CHASE_DB1"
new_camera seen_CHASE_DB1 "$output/training-256"

# 7. Train segmentation networks on photographs of these weights, and test them on the cameras of their training and on
#    CHASE_DB1.
others="$output/labelled/others" set="$output/pix2pix_vessel/unseen_usefulness"
"$python" -m retina_monai prepare "$output/labelled/HRF/datalist.json" "$output/labelled/FIVES" \
    --output "$others/datalist.json" --overwrite true
"$python" -m retina_monai synthesize pix2pix_vessel --input_dir "$others" --output_dir "$set" --split training \
    --augment 3 --appearance random --size 256 --checkpoint "$output/without-CHASE_DB1/model.pt"
"$python" -m retina_monai evaluate --synthetic_dir "$set" --real_dir "$others" --families usefulness --mode full \
    --external_dir "$output/labelled/CHASE_DB1" --size 256 --cache_dir "$output/evaluations" --output_dir "$set-report"
sed "s|$output/labelled/||; s|$output/||" "$set-report/report.json" >"$reports/unseen_usefulness.json"
"$python" "$root/scripts/report_figures.py" "$reports"
