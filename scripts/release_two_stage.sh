#!/usr/bin/env bash
# Train, release and measure pix2pix_color_vessel and lama_fundus, the stages of two_stage. This script produces all
# figures of their model cards.
#
#   scripts/release_two_stage.sh DATA [OUTPUT]     OUTPUT: runs/release
#
# DATA holds CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD_grading. Takes about eight hours on two CPU cores. To resume an
# interrupted training, repeat the printed command with --resume true.
source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" "CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD_grading" \
    release "$@"
color="$root/bundles/pix2pix_color_vessel" lama="$root/bundles/lama_fundus" runs="$output/two_stage"
small() { # bundle
    echo "['$1/configs/train.json','$1/configs/size_256.json']"
}

# 1. Find vessel maps and discs of IDRiD's photographs without retinopathy or with mild retinopathy.
label_eyes
all=(--dataset_dir "[$drawn,'$output/IDRiD']" --found_weight 1.0 --camera_weights "{'FIVES': 0.5}")

# 2. Train the first stage, first at 256 px and then at 512 px.
bundle training --config_file "$(small "$color")" "${all[@]}" --output_dir "$runs/color-256" --max_epochs 15
bundle training --config_file "$color/configs/train.json" "${all[@]}" --output_dir "$runs/color" \
    --initial_weights "$runs/color-256/model.pt" --max_epochs 6 --val_interval 3

# 3. Train the second stage on phantoms, then on eyes around vessels that the first stage has coloured.
phantoms="$output/phantoms/any"
draw_phantoms "$phantoms" 31
bundle training --config_file "$(small "$lama")" --dataset_dir "$phantoms" --output_dir "$runs/lama-phantoms" \
    --generated_share 0 --linear_decay false --max_epochs 2
bundle training --config_file "$(small "$lama")" "${all[@]}" --output_dir "$runs/lama-256" --max_epochs 30 \
    --initial_weights "$runs/lama-phantoms/model.pt" --color_vessel_weights "$runs/color-256/model.pt"
bundle training --config_file "$lama/configs/train.json" "${all[@]}" --output_dir "$runs/lama" --max_epochs 6 \
    --initial_weights "$runs/lama-256/model.pt" --color_vessel_weights "$runs/color/model.pt"

# 4. Release the weights in half precision, and evaluate each stage on the test eyes.
for stage in color lama; do
    root_of="${!stage}"
    "$python" -m retina_monai release "$runs/$stage" "$(basename "$root_of")" --overwrite true
    bundle --config_file "['$root_of/configs/train.json','$root_of/configs/evaluate.json']" --dataset_dir "[$drawn]" \
        --checkpoint "$root_of/models/model.pt" --output_dir "$runs/$stage-evaluation"
    mkdir -p "$root_of/docs/reports"
    cp "$runs/$stage-evaluation/report.json" "$root_of/docs/reports/evaluation.json"
done

# 5. Answer the questions of the report for both stages together, and compare them with direct generation.
find_all_discs
ask_all two_stage "$lama/docs/reports" 512
"$python" "$root/scripts/report_figures.py" "$lama/docs/reports"
"$python" "$root/scripts/two_stage.py" --data "$data"
