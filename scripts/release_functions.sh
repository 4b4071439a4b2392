# Functions and variables shared by the release scripts. Source it with
#
#   source "$(dirname "${BASH_SOURCE[0]}")/release_functions.sh" DATASETS FOLDER "$@"
#
# DATASETS are the names of the data sets that DATA must contain, for the error message. FOLDER is the default output
# folder inside runs/. "$@" are the arguments of the script, DATA and OUTPUT. Sets root, data, output and python.
#
# shellcheck shell=bash disable=SC2034
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
data="$(realpath "${3:?give the folder of $1}")"
output="$(realpath -m "${4:-$root/runs/$2}")"
python="$("$root/scripts/setup.sh")"

bundle() { # arguments of monai.bundle run
    printf '\n== %s\n' "$*"
    "$python" -m monai.bundle run "$@"
}
