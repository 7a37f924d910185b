#!/usr/bin/env bash
# Runs every fuzz program for a while. Usage: tests/fuzz/run.sh FUZZ_BIN_DIR [SECONDS each, default 600]
# Exits 1 if one finds something; the input lies in build/fuzz-findings and is to become a test.
set -uo pipefail
cd "$(dirname "$0")/../.."
bin=${1:?folder of the fuzz programs}
seconds=${2:-600}
findings=build/fuzz-findings
corpora=build/fuzz-corpora
mkdir -p "$findings"
failures=0
for program in "$bin"/*_fuzz; do
  name=$(basename "$program")
  mkdir -p "$corpora/$name"
  python3 tests/fuzz/seeds.py "$name" "$corpora/$name"
  echo "== $name, $seconds s"
  "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="$findings/$name-" "$corpora/$name" > "$findings/$name.log" 2>&1
  status=$?
  grep -E "stat::number_of_executed_units|stat::average_exec_per_sec|SUMMARY" "$findings/$name.log"
  if [ $status -ne 0 ]; then failures=$((failures + 1)); echo "^^ FOUND SOMETHING: $findings/$name.log"; fi
done
[ "$failures" -eq 0 ] && echo "fuzz: nothing found" || { echo "fuzz: $failures programs found something"; exit 1; }
