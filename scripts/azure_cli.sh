#!/usr/bin/env bash
# The real azure-cli in an environment of its own (.cache/azure-cli, about 750 MB, made once): the judge of `make test-az`.
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.91.0
home=.cache/azure-cli

if [ "$(cat "$home/installed" 2>/dev/null)" = "$version" ]; then exit 0; fi
[ -x .tools/bin/uv ] || scripts/install.sh python
echo "Installing azure-cli $version into $home (once, about 750 MB)"
mkdir -p .cache
.tools/bin/uv venv --quiet --clear --python .venv/bin/python "$home"
.tools/bin/uv pip install --quiet --python "$home/bin/python" "azure-cli==$version"
printf '%s\n' "$version" > "$home/installed"
