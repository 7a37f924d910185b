#!/usr/bin/env bash
# The whole SmolLM2 recipe: fetch word problems, measure pass rates, keep the problems that the model sometimes solves, train on them.
# Usage: deploy/run-smollm2.sh path/to/hone. Leaves runs/smollm2-measure and runs/smollm2-arithmetic.
set -euo pipefail
hone=$(realpath "${1:?path of the hone program}")
cd "$(dirname "$0")/.."
state=runs/.hone-smollm2
[ -f runs/svamp/train.jsonl ] || "$hone" data get svamp --out runs/svamp
"$hone" up --state "$state" --detach
trap '"$hone" down --state "$state"' EXIT
export HONE_COORDINATOR; HONE_COORDINATOR=$(cat "$state/endpoint")
"$hone" run recipes/smollm2_measure.yaml --wait
for part in train heldout; do
  "$hone" samples smollm2-measure --stage "measure-$part" --all --output json > "runs/svamp/$part.samples.jsonl"
  "$hone" data filter --data "runs/svamp/$part.jsonl" --samples "runs/svamp/$part.samples.jsonl" --component accuracy \
    --min_pass 0.05 --max_pass 0.95 --out "runs/svamp/$part.filtered.jsonl"
done
"$hone" run recipes/smollm2_arithmetic.yaml --wait
