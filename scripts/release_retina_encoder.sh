#!/usr/bin/env bash
# Train, release and measure retina_encoder. This script produces all figures of its model card.
#
#   scripts/release_retina_encoder.sh DATA [OUTPUT]   DATA: CHASE_DB1, HRF, FIVES, IDRiD; OUTPUT: runs/release_encoder
#
# Takes about half an hour on one CPU core with bfloat16, including five minutes for the phantoms. To resume an
# interrupted training, repeat the printed command with --resume true.
source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" "CHASE_DB1, HRF, FIVES and IDRiD" release_encoder "$@"
configs="$root/bundles/retina_encoder/configs"
eyes="'$data/CHASE_DB1','$data/HRF','$data/FIVES'"
any="$output/phantoms/any" named="$output/phantoms/named"

evaluate() { # data sets, output folder, options
    bundle --config_file "['$configs/train.json','$configs/evaluate.json']" --dataset_dir "$1" --output_dir "$2" \
        "${@:3}"
}

# 1. Draw phantoms of all grades and degrees of myopia, half of them with the cameras of known data sets.
mixed=(--count 300 --size 512 --grade mixed --myopia mixed)
[[ -d "$any" ]] || "$python" -m retina_monai phantom "$any" "${mixed[@]}" --seed 11
[[ -d "$named" ]] || "$python" -m retina_monai phantom "$named" "${mixed[@]}" --seed 12 --camera mixed

# 2. Train on phantoms and the training splits of three sets, and keep the weights with the best predictions on
#    validation eyes.
bundle training --config_file "$configs/train.json" --dataset_dir "[$eyes,'$any','$named']" \
    --output_dir "$output/training" --batch_size 8 --max_epochs 50 --val_interval 10

# 3. Release the weights in half precision, and evaluate on test eyes, on an unseen data set and on phantoms.
"$python" -m retina_monai release "$output/training" retina_encoder --overwrite true
evaluate "[$eyes]" "$output/evaluation"
evaluate "$data/IDRiD" "$output/evaluation-idrid" --splits "['training','validation','test']"
evaluate "['$any','$named']" "$output/evaluation-phantoms"
