#!/usr/bin/env bash
# Set up, then run the tests, in a process for each core up to four. Arguments go to pytest, in one process; paths in
# them are relative to the repository's top.
#
#   scripts/test.sh                                               all but the slow tests
#   scripts/test.sh -m slow                                       tests of scripts, fuzzing, full disks: before a release
#   scripts/test.sh [-k NAME] [-x] [tests/test_packaging.py] ...
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
python="$("$root/scripts/setup.sh" test)"
cd "$root"
workers=$(($(nproc) < 4 ? $(nproc) : 4))
if [[ $# -eq 0 && $workers -gt 1 ]]; then
    export OMP_NUM_THREADS=1 # the processes have the cores
    set -- --numprocesses "$workers" --dist worksteal
fi
exec "$python" -m pytest "$@"
