#!/usr/bin/env bash
# Checks the claims about GPUs on a GPU; see README.md beside this file.
#
# tests/gpu/check.sh [PART ...] [--size full|small]     results go to $OUT (default: ./gpu-check)
set -euo pipefail
export OUT="${OUT:-$PWD/gpu-check}"
mkdir -p "$OUT"
OUT="$(cd "$OUT" && pwd)"
here="$(cd "$(dirname "$0")" && pwd)"
python="${PYTHON:-python3}"
cd "$here/../.."

# Installs packages that this Python lacks, from the folder that wheels.sh fills. Others are left unchanged.
site="$here/wheels/installed"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}:$site"
lacking=$("$python" "$here/lacking.py" "$here/wheels")
if [ -n "$lacking" ]; then
  # One wheel per line, because a path may contain spaces.
  echo "$lacking" | tr '\n' '\0' | xargs -0 "$python" -m pip install --quiet --no-index --no-deps --no-compile \
    --disable-pip-version-check --upgrade --target "$site"
fi
# The commands of fflm are found through its metadata, which a checkout lacks that is not installed.
has_commands="from importlib.metadata import entry_points; raise SystemExit(not entry_points(group='fflm.verbs'))"
"$python" -c "$has_commands" || "$python" -c "from setuptools import setup; setup()" --quiet egg_info
"$python" -m tests.gpu "$@" 2>&1 | tee -a "$OUT/log.txt"
