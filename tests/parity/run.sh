#!/usr/bin/env bash
# Every comparison with the field's own implementations. Usage: tests/parity/run.sh BIN_DIR. Exits 1 if any misses its limit.
set -uo pipefail
cd "$(dirname "$0")/../.."
bin=${1:?folder of the built programs}
python=$(tests/parity/venv.sh) || exit 1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
data=${HONE_DATA:-../shared/data}
tokenizers=${HONE_TOKENIZERS:-../shared/tokenizers}
gguf=models/SmolLM2-135M-Instruct.Q4_1.gguf
failures=0
run() { echo; echo "== $1"; shift; "$@" || { failures=$((failures + 1)); echo "^^ MISSED"; }; }

[ -f "$gguf" ] && [ -f models/smollm2-135m/model.safetensors ] || deploy/fetch-smollm2.sh "$bin/hone" models/smollm2-135m
run "model: logits, loss, gradients, AdamW, export" "$python" tests/parity/model_parity.py --tool "$bin/parity_tool" --gguf "$gguf"
run "algorithms: advantages, loss, gradients" "$python" tests/parity/algorithm_parity.py --tool "$bin/algorithm_tool"
run "tokenizer" "$python" tests/parity/tokenizer_parity.py "$bin/tokenize_tool" "$work/tokenizer" --data "$data" \
  "$tokenizers/qwen3" "$tokenizers/deepseek_v3"
run "GGUF import" "$python" tests/parity/gguf_parity.py "$bin/gguf_import_tool" "$work/gguf" "$gguf" --data "$data"
run "chat templates" "$python" tests/parity/chat_parity.py "$bin/chat_tool" "$work/chat" "$tokenizers/qwen3" models/smollm2-135m
run "TensorBoard event files" "$python" tests/parity/tfevents_parity.py --program "$(dirname "$bin")/tests-bin/report_sample_run"
echo
if [ "$failures" -gt 0 ]; then echo "parity: $failures suites missed"; exit 1; fi
echo "parity: all suites hold"
