#!/usr/bin/env bash
# Trains the baseline Transformer of arXiv 2306.00946 on a GPU, as many seeds as fit into nine minutes; see README.md.
#
# tests/gpu/train.sh [--size full|small]     results go to $OUT (default: ./gpu-check)
exec bash "$(dirname "$0")/check.sh" train "$@"
