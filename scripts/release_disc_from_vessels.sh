#!/usr/bin/env bash
# Train, release and measure disc_from_vessels. This script produces the figures of its model card.
#
#   scripts/release_disc_from_vessels.sh DATA [OUTPUT]     OUTPUT: runs/release_map_disc
#
# DATA holds CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD_grading. Takes an hour on one CPU core with bfloat16, most of it
# for the vessel maps of IDRiD_grading and the phantoms.
source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" \
    "CHASE_DB1, HRF, HRF_rest, FIVES and IDRiD_grading" release_map_disc "$@"
configs="$root/bundles/disc_from_vessels/configs"

# 1. Segment the discs in photographs whose vessel maps are annotated, and both in photographs without vessel maps.
eyes=""
for set in CHASE_DB1 HRF HRF_rest FIVES; do
    bundle --config_file "$root/bundles/unet_disc/configs/inference.json" --input_dir "$data/$set" \
        --output_dir "$output/discs/$set"
    eyes+="'$output/discs/$set',"
done
"$root/scripts/label_photographs.sh" "$data/IDRiD_grading" "$output/IDRiD" --most_grade 1

# 2. Draw phantoms, whose discs are exact.
mixed=(--count 300 --size 512 --grade mixed --myopia mixed)
any="$output/phantoms/any" named="$output/phantoms/named"
[[ -d "$any" ]] || "$python" -m retina_monai phantom "$any" "${mixed[@]}" --seed 31
[[ -d "$named" ]] || "$python" -m retina_monai phantom "$named" "${mixed[@]}" --seed 32 --camera mixed

# 3. Train on all of them, and release the weights with the best Dice on validation eyes.
bundle training --config_file "$configs/train.json" --dataset_dir "[$eyes'$output/IDRiD','$named','$any']" \
    --batch_size 8 --max_epochs 12 --val_interval 2 --output_dir "$output/training"
"$python" -m retina_monai release "$output/training" disc_from_vessels --overwrite true

# 4. Evaluate on test eyes and on test phantoms.
evaluate() { # data sets, output folder
    bundle --config_file "['$configs/train.json','$configs/evaluate.json']" --dataset_dir "$1" --output_dir "$2"
}
evaluate "[$eyes'$output/IDRiD']" "$output/evaluation"
evaluate "['$any','$named']" "$output/evaluation-phantoms"
