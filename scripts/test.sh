#!/usr/bin/env bash
# Runs pytest on both cores with the marker expression $1. What fails is run once more, alone on the machine: a test that
# passes then raced something else; it is named, so that it gets mended, and does not hide what is truly broken.
set -uo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python

"$python" -m pytest -n 2 --dist worksteal -m "$1" && exit 0
echo
echo "Some tests failed. They run once more, alone; those that pass now are UNSTEADY and want mending:"
"$python" -m pytest --last-failed --last-failed-no-failures none -m "$1"
