#!/usr/bin/env bash
# Train, release and measure ddpm_vessel. This script produces all figures of its model card.
#
#   scripts/release_ddpm_vessel.sh DATA [OUTPUT]     DATA holds CHASE_DB1, HRF and FIVES; OUTPUT: runs/release_ddpm
#
# Takes hours on two CPU cores. Repeat the command to resume an interrupted run; finished steps are skipped.
source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" "CHASE_DB1, HRF and FIVES" release_ddpm "$@"
configs="$root/bundles/ddpm_vessel/configs"
reports="$root/bundles/ddpm_vessel/docs/reports"
eyes="['$data/CHASE_DB1','$data/HRF','$data/FIVES']"
mkdir -p "$reports"

train() { # folder, options; resumes an interrupted training and skips a finished one
    local folder="$1" resume=false
    shift
    [[ -f "$folder/finished" ]] && return
    compgen -G "$folder/checkpoints/epoch_*.pt" >/dev/null && resume=true
    bundle training --config_file "$configs/train.json" --output_dir "$folder" --resume "$resume" "$@"
    touch "$folder/finished"
}

# 1. For each process, train on phantoms to learn the positions of discs and foveas, then on real eyes. One core per
#    process is enough. According to `selection`, velocity is best after a few epochs.
[[ -d "$output/phantoms" ]] || "$python" -m retina_monai phantom "$output/phantoms" --count 300 --size 512 --seed 1
for process in flow velocity; do
    shorter=()
    [[ "$process" == velocity ]] && shorter=(--max_epochs 16 --val_interval 4)
    train "$output/$process-phantoms" --process "$process" --dataset_dir "$output/phantoms" --max_epochs 1 \
        --val_interval 1 --linear_decay false
    train "$output/$process" --process "$process" --dataset_dir "$eyes" \
        --initial_weights "$output/$process-phantoms/model.pt" "${shorter[@]}"
done

# 2. Release the weights in half precision, and evaluate on the test eyes.
"$python" -m retina_monai release "$output/flow" ddpm_vessel --overwrite true
bundle --config_file "['$configs/train.json','$configs/evaluate.json']" --dataset_dir "$eyes" \
    --output_dir "$output/evaluation"
cp "$output/evaluation/report.json" "$reports/evaluation.json"

# 3. Measure every sampler with few steps and with guidance, on warped maps of training eyes.
curve() { # files of weights, options
    "$python" "$root/scripts/sampling_curve.py" "$data" "$@" --output "$reports/sampling.json" \
        --picture "$root/docs/images/ddpm_vessel_steps.png"
}
released="$root/bundles/ddpm_vessel/models/model.pt"
curve "$released" "$output/velocity/model.pt"
curve "$released" --steps 16 --guidance "(1.5,2)"

# 4. Answer the four questions for each set, on vessel maps of test eyes and on warped maps of training eyes.
ask() { # data set, name of the report, families, options of synthesize
    local set="$data/$1" name="$2" families="$3"
    shift 3
    "$python" -m retina_monai synthesize ddpm_vessel --input_dir "$set" --output_dir "$output/$name" "$@"
    "$python" -m retina_monai evaluate --synthetic_dir "$output/$name" --real_dir "$set" --families "$families" \
        --mode full --cache_dir "$output/evaluations" --size 128 --output_dir "$output/report-$name"
    sed "s|$output/||; s|$data/||" "$output/report-$name/report.json" >"$reports/$name.json" # without local paths
}
for set in CHASE_DB1 HRF FIVES; do
    ask "$set" "test_$set" image,distribution,faithfulness --split test --appearance "$set"
    ask "$set" "warped_$set" all --split training --augment 3 --appearance "random:$set"
done
"$python" "$root/scripts/report_figures.py" "$reports"
