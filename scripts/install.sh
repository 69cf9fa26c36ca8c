#!/usr/bin/env bash
# Makes .venv with holdfast and azurelab, every package pinned by hash in requirements.lock.
# Installs the system packages that are missing (as root or with sudo), or says exactly which command a person should run.
set -euo pipefail
cd "$(dirname "$0")/.."

# $@ = package:probe pairs; a package is missing when its probe is not a command here.
need_packages() {
  local missing=()
  for pair in "$@"; do
    command -v "${pair#*:}" >/dev/null 2>&1 || missing+=("${pair%%:*}")
  done
  printf '%s\n' "${missing[@]:-}"
}

install_packages() {
  [ $# -gt 0 ] || return 0
  local as_root=""
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo"; else
      echo "These system packages are missing: $*" >&2
      echo "Ask somebody who may install them to run:" >&2
      echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends $*" >&2
      exit 3
    fi
  fi
  command -v apt-get >/dev/null 2>&1 || {
    echo "Missing: $*. This is not Debian or Ubuntu: install them with your package manager and run this again." >&2; exit 3; }
  echo "Installing system packages: $*"
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

python_of_the_system() {
  for candidate in python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
       "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"; return
    fi
  done
}

case "${1:-python}" in
  python)
    python=$(python_of_the_system)
    if [ -z "$python" ] || ! "$python" -c 'import ensurepip' 2>/dev/null; then
      install_packages python3 python3-venv ca-certificates
      python=$(python_of_the_system)
    fi
    [ -n "$python" ] || { echo "Python 3.11 or newer is needed, and this system has none." >&2; exit 3; }
    if [ ! -x .tools/bin/uv ]; then
      echo "Installing uv into .tools"
      "$python" -m venv .tools
      .tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tools.lock
    fi
    stamp=$(cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1)
    if [ ! -x .venv/bin/holdfast ] || [ "$(cat .venv/installed 2>/dev/null)" != "$stamp" ]; then
      echo "Installing the pinned packages into .venv"
      [ -x .venv/bin/python ] || .tools/bin/uv venv --quiet --python "$python" .venv
      .tools/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements.lock
      .tools/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
      printf '%s' "$stamp" > .venv/installed
    fi
    # Compiled here, once: where PYTHONDONTWRITEBYTECODE is set, every start of a program would compile all of it again.
    .venv/bin/python -m compileall -q src
    ;;
  guests)   # what real guests need: QEMU to run them; the rest of the guest image is downloaded, never installed
    mapfile -t missing < <(need_packages qemu-system-x86:qemu-system-x86_64 qemu-utils:qemu-img | sed '/^$/d')
    install_packages "${missing[@]}"
    ;;
  postgres) # the engine's tests run on a private cluster of the distribution's PostgreSQL
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || install_packages postgresql postgresql-contrib
    ;;
  *) echo "usage: scripts/install.sh [python|guests|postgres]" >&2; exit 2 ;;
esac
