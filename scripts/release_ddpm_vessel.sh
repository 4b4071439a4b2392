#!/usr/bin/env bash
# Train, release and measure ddpm_vessel. This script produces all figures of its model card.
#
#   scripts/release_ddpm_vessel.sh DATA [OUTPUT]     OUTPUT: runs/release
#
# DATA holds CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD_grading. Takes about four hours on two CPU cores. To resume an
# interrupted training, repeat the printed command with --resume true.
source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" "CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD_grading" \
    release "$@"
configs="$root/bundles/ddpm_vessel/configs" runs="$output/ddpm_vessel"
reports="$root/bundles/ddpm_vessel/docs/reports"
mkdir -p "$reports"

# 1. Find vessel maps and discs of IDRiD's photographs without retinopathy or with mild retinopathy.
label_eyes

# 2. Learn the positions of foveas relative to vessels and disc on phantoms, then the eyes of all training splits.
any="$output/phantoms/any" named="$output/phantoms/named"
draw_phantoms "$any" 31
draw_phantoms "$named" 32 --camera mixed
bundle training --config_file "$configs/train.json" --dataset_dir "['$named','$any']" --output_dir "$runs/phantoms" \
    --max_epochs 12 --val_interval 12 --linear_decay false
bundle training --config_file "$configs/train.json" --dataset_dir "[$drawn,'$output/IDRiD']" \
    --camera_weights "{'FIVES': 0.5}" --output_dir "$runs/training" --initial_weights "$runs/phantoms/model.pt" \
    --max_epochs 120 --val_interval 24

# 3. Release the weights in half precision, and evaluate on the test eyes.
"$python" -m retina_monai release "$runs/training" ddpm_vessel --overwrite true
bundle --config_file "['$configs/train.json','$configs/evaluate.json']" --dataset_dir "[$drawn]" \
    --checkpoint "$root/bundles/ddpm_vessel/models/model.pt" --output_dir "$runs/evaluation"
cp "$runs/evaluation/report.json" "$reports/evaluation.json"

# 4. Measure the sampler with few steps and with guidance, on warped maps of training eyes.
for options in "" "--steps 16 --guidance (1.5,2)"; do
    # shellcheck disable=SC2086
    "$python" "$root/scripts/sampling_curve.py" "$data" "$root/bundles/ddpm_vessel/models/model.pt" $options \
        --output "$reports/sampling.json" --picture "$root/docs/images/ddpm_vessel_steps.png"
done

# 5. Answer the questions of the report for each camera, on vessel maps of test eyes and on warped maps of training eyes.
find_all_discs
ask_all ddpm_vessel "$reports" 256
"$python" "$root/scripts/report_figures.py" "$reports"
