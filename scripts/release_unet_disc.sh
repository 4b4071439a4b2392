#!/usr/bin/env bash
# Train, release and measure unet_disc. This script produces the figures of its model card.
#
#   scripts/release_unet_disc.sh DATA [OUTPUT]     OUTPUT: runs/release_disc
#
# DATA holds IDRiD, IDRiD_grading, CHASE_DB1, HRF, HRF_rest and FIVES.
#
# Takes about two and a half hours on one CPU core with bfloat16, including ten minutes for the phantoms. To resume an interrupted
# training, repeat the printed command with --resume true.
source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" \
    "IDRiD, IDRiD_grading, CHASE_DB1, HRF, HRF_rest and FIVES" release_disc "$@"
configs="$root/bundles/unet_disc/configs"
any="$output/phantoms/any" named="$output/phantoms/named"

train() { # further data sets, output folder, options
    bundle training --config_file "$configs/train.json" --dataset_dir "['$data/IDRiD','$any','$named'$1]" \
        --output_dir "$2" --batch_size 8 --val_interval 2 "${@:3}"
}
evaluate() { # data sets, output folder, splits
    bundle --config_file "['$configs/train.json','$configs/evaluate.json']" --dataset_dir "$1" --output_dir "$2" \
        --splits "$3"
}

# 1. Draw phantoms of all grades and degrees of myopia, half of them with the cameras of known data sets.
mixed=(--count 300 --size 512 --grade mixed --myopia mixed)
[[ -d "$any" ]] || "$python" -m retina_monai phantom "$any" "${mixed[@]}" --seed 31
[[ -d "$named" ]] || "$python" -m retina_monai phantom "$named" "${mixed[@]}" --seed 32 --camera mixed

# 2. Train on IDRiD and the phantoms, and keep the weights with the best Dice on augmented validation eyes.
train "" "$output/first"

# 3. Segment discs in the training photographs of four data sets, and train on those with a high confidence too. Do this
#    twice. Drawn discs are used 24 times as often.
train_on_found() { # weights that segment and initialise, least confidence, epochs, output folder
    local found="" set
    for set in IDRiD_grading CHASE_DB1 HRF_rest FIVES; do
        bundle --config_file "$configs/inference.json" --input_dir "$data/$set" --split training --kept_masks "[]" \
            --checkpoint "$1" --least_confidence "$2" --output_dir "$4-found/$set"
        found+=",'$4-found/$set'"
    done
    train "$found" "$4" --initial_weights "$1" --learning_rate 0.0015 --max_epochs "$3"
}
train_on_found "$output/first/model.pt" 0.85 14 "$output/second"
train_on_found "$output/second/model.pt" 0.9 12 "$output/training"

# 4. Release the weights in half precision, evaluate on test eyes, and draw the discs found with other cameras.
"$python" -m retina_monai release "$output/training" unet_disc --overwrite true
evaluate "['$data/IDRiD','$data/CHASE_DB1','$data/HRF','$data/FIVES']" "$output/evaluation" "['test']"
evaluate "['$any','$named']" "$output/evaluation-phantoms" "['test']"
evaluate "['$data/CHASE_DB1','$data/HRF','$data/HRF_rest','$data/FIVES']" "$output/evaluation-cameras" \
    "['training','validation','test']"
