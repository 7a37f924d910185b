#!/usr/bin/env bash
# make client-test: `hone serve` under the OpenAI package and lm-eval. Usage: tests/clients/run.sh BIN_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${1:?folder of the programs}
deploy/fetch-smollm2.sh "$bin/hone" models/smollm2-135m
python=$(tests/parity/venv.sh)
"$python" -c 'import openai, lm_eval' 2> /dev/null || "$python" -m pip install -q -r tests/clients/requirements.txt
"$python" tests/clients/openai_client.py --hone "$bin/hone" --model models/smollm2-135m
"$python" tests/clients/lm_eval_client.py --hone "$bin/hone" --model models/smollm2-135m
