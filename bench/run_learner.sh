#!/usr/bin/env bash
# make bench-learner: fetches the model and the peers if they are missing, then measures. Usage: bench/run_learner.sh BUILD_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?build folder}
deploy/fetch-smollm2.sh "$build/bin/hone" models/smollm2-135m
python=$(tests/parity/venv.sh)
"$python" -c 'import trl' 2> /dev/null || "$python" -m pip install -q -r bench/peers/requirements.txt
"$python" bench/learner.py --bin "$build/bin" --bench_bin "$build/bench-bin" --model models/smollm2-135m ${BENCH_ARGS:-}
