#!/usr/bin/env bash
# Install the wheel of dist/ into a clean environment and use it there, away from
# the source tree. PYTHON makes the environment, QT names the binding.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=$(cd "$(dirname "$PYTHON")" && pwd)/$(basename "$PYTHON")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

"$python" -m venv "$place/env"
"$place/env/bin/python" -m pip install -qq -c "$root/constraints.txt" \
    "$root"/dist/careamist-*.whl "napari[${QT:-pyside6}]>=0.9"

mkdir "$place/empty"
cd "$place/empty"
unset PYTHONPATH
PATH=$place/env/bin:$PATH
careamist --version
npe2 validate careamist
python "$root/scripts/with_display.py" --virtual python "$root/scripts/open_docks.py"
echo "The wheel installs and its docks open."
