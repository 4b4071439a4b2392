#!/usr/bin/env bash
# Set up, then run the whole test suite. Arguments go to pytest; paths in them are seen from the repository's top.
#
#   scripts/test.sh [-k NAME] [-x] [tests/test_packaging.py] ...
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
python="$("$root/scripts/setup.sh" test)"
cd "$root"
exec "$python" -m pytest "$@"
