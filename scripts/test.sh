#!/usr/bin/env bash
# Set up, then run the tests in one process per core, up to four. With arguments, which are passed to pytest, the tests
# run in one process; paths are relative to the root of the repository.
#
#   scripts/test.sh                                               all but the slow tests
#   scripts/test.sh -m slow                                       the slow tests, to run before a release
#   scripts/test.sh [-k NAME] [-x] [tests/test_packaging.py] ...
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
python="$("$root/scripts/setup.sh")"
cd "$root"
workers=$(($(nproc) < 4 ? $(nproc) : 4))
if [[ $# -eq 0 && $workers -gt 1 ]]; then
    export OMP_NUM_THREADS=1 # one core per process
    set -- --numprocesses "$workers" --dist worksteal
fi
exec "$python" -m pytest "$@"
