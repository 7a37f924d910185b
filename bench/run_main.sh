#!/usr/bin/env bash
# make bench: fetches the model and the peers if they are missing, then measures. Usage: bench/run_main.sh BUILD_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?build folder}
deploy/fetch-smollm2.sh "$build/bin/hone" models/smollm2-135m
python=$(tests/parity/venv.sh)
mkdir -p bench/out
"$build/bench-bin/bench_kernels" --json bench/out/kernels.json
"$python" bench/main.py --bench_bin "$build/bench-bin" --model models/smollm2-135m ${BENCH_ARGS:-}
