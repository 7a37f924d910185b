#!/usr/bin/env bash
# Makes .venv with what the parity tests and the peers' benchmarks need, and prints its python. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ ! -x .venv/bin/python ]; then
  python3 -c 'import ensurepip' 2> /dev/null || deploy/install-deps.sh --dev >&2
  python3 -m venv .venv
fi
stamp=.venv/requirements.sha256
want=$(sha256sum tests/parity/requirements.txt | cut -d' ' -f1)
if [ "$(cat "$stamp" 2> /dev/null)" != "$want" ]; then
  .venv/bin/pip install -q -U pip >&2
  .venv/bin/pip install -q -r tests/parity/requirements.txt >&2
  echo "$want" > "$stamp"
fi
echo "$PWD/.venv/bin/python"
