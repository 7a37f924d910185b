#!/usr/bin/env bash
# Runs every fuzz program for a while, as many side by side as there are cores. Usage: tests/fuzz/run.sh FUZZ_BIN_DIR [SECONDS each, default 600]
# [NAME ...]. Exits 1 if one finds something; the input lies in build/fuzz-findings and is to become a test.
set -uo pipefail
cd "$(dirname "$0")/../.."
bin=${1:?folder of the fuzz programs}
export seconds=${2:-600} findings=build/fuzz-findings corpora=build/fuzz-corpora
shift $(($# < 2 ? $# : 2))
mkdir -p "$findings"

fuzz_one() {
  local program=$1 name status
  name=$(basename "$program")
  mkdir -p "$corpora/$name"
  python3 tests/fuzz/seeds.py "$name" "$corpora/$name" || return 1
  echo "== $name, $seconds s"
  "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="$findings/$name-" "$corpora/$name" > "$findings/$name.log" 2>&1
  status=$?
  grep -E "stat::number_of_executed_units|stat::average_exec_per_sec|SUMMARY" "$findings/$name.log" | sed "s/^/$name: /"
  [ $status -eq 0 ] || echo "$name: FOUND SOMETHING: $findings/$name.log"
  return $status
}
export -f fuzz_one

programs=("$bin"/*_fuzz)
[ $# -eq 0 ] || programs=("${@/#/$bin/}")
if printf '%s\0' "${programs[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'fuzz_one "$1"' fuzz_one; then
  echo "fuzz: nothing found"
else
  echo "fuzz: something was found"
  exit 1
fi
