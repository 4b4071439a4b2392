#!/usr/bin/env bash
# Create the virtual environment of the other scripts with the tested versions, and print the path of its Python.
#
#   scripts/setup.sh
#
#   RETINA_VENV          folder of the environment; defaults to .venv in the repository
#   RETINA_TORCH_INDEX   package index for torch, for example PyTorch's index of CPU builds;
#                        defaults to pip's index, which on Linux has the (large) CUDA build
#
# Returns at once if everything is up to date. An existing environment is kept and completed.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$(realpath -m "${RETINA_VENV:-$root/.venv}")"
python="$venv/bin/python"
wanted="$root $(cat "$root/pyproject.toml" "$root/constraints.txt" | sha256sum | cut -d ' ' -f 1)"

say() { printf '%s\n' "setup: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

stamp="$venv/.retina_monai"

is_complete() { [[ -x "$python" && "$(cat "$stamp" 2>/dev/null)" == "$wanted" ]]; }

# Debian's python3 lacks ensurepip until python3-venv is installed.
can_make_environment() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in python3.11 /usr/bin/python3.11 python3 python; do
        if can_make_environment "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

is_root() { [[ "$(id -u)" -eq 0 ]]; }

as_root() { if is_root; then "$@"; else sudo "$@"; fi; }

apt_install() {
    command -v apt-get >/dev/null || return 1
    is_root || command -v sudo >/dev/null || return 1
    say "installing $* with apt-get"
    {
        as_root apt-get update -qq &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    } >&2
}

make_environment() {
    local base
    base="$(find_python)" || { apt_install python3.11 python3.11-venv && base="$(find_python)"; } ||
        fail "Python 3.11 with its venv module is needed: install python3.11 and python3.11-venv, then repeat the command."
    say "creating the virtual environment $venv"
    "$base" -m venv "$venv"
}

check_environment() {
    local version
    version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" ||
        fail "$python does not run: remove $venv, then repeat the command."
    [[ "$version" == 3.11 ]] ||
        fail "$venv has Python $version, but 3.11 is needed: set RETINA_VENV to another directory."
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null
}

pip_install() {
    "$python" -m pip install -qq --disable-pip-version-check --no-compile "$@" >&2 ||
        fail "pip could not install $what: see its message above."
}

has_torch() {
    "$python" -c 'import importlib.metadata as packages, sys
sys.exit(packages.version("torch").partition("+")[0] != sys.argv[1])' "${what#torch==}" 2>/dev/null
}

# torch is installed first, so that its build is chosen here rather than by a package that depends on it.
install_torch() {
    what="$(grep '^torch==' "$root/constraints.txt")"
    has_torch && return
    say "installing $what (large: minutes on a slow connection)"
    if [[ -n "${RETINA_TORCH_INDEX:-}" ]]; then
        pip_install --no-deps --index-url "$RETINA_TORCH_INDEX" "$what"
    else
        pip_install --constraint "$root/constraints.txt" "$what"
    fi
}

# uv is several times as fast as pip, but does not read pip's configuration.
uv_install() {
    "$python" -m pip install -qq --disable-pip-version-check "uv==0.13.9" >/dev/null 2>&1 &&
        UV_LINK_MODE=copy "$python" -m uv pip install --quiet --python "$python" "$@" >/dev/null 2>&1
}

# constraints.txt lists all dependencies but those of CUDA builds of torch, which therefore need not be resolved.
install_packages() {
    what="the packages of constraints.txt"
    say "installing $what (a minute or two)"
    uv_install --no-deps --requirement "$root/constraints.txt" ||
        pip_install --no-deps --requirement "$root/constraints.txt"
    what="retina_monai"
    pip_install --no-deps --no-build-isolation --editable "$root"
}

if ! is_complete; then
    [[ -x "$python" ]] || make_environment
    check_environment
    install_torch
    install_packages
    printf '%s' "$wanted" >"$stamp"
    say "ready: $venv"
fi
printf '%s\n' "$python"
