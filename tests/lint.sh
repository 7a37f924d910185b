#!/usr/bin/env bash
# Format and static checks over the tracked sources; exits non-zero when there is a finding. What was clean and has not changed since is
# not read again (lint_unit.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(git ls-files '*.cc' '*.h')
echo "clang-format: ${#sources[@]} files"
clang-format --dry-run -Werror "${sources[@]}"
# clang-tidy reads a compile database made for clang: GCC's warning names mean nothing to it.
cmake --preset fuzz -DCMAKE_EXPORT_COMPILE_COMMANDS=ON > /dev/null
cmake --build build/fuzz --target hone_proto hone_proto_grpc > /dev/null

# Usage: tidy EXTRA_CHECKS UNIT ...
tidy() {
  local checks=$1
  shift
  printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 tests/lint_unit.sh build/fuzz "$checks"
}
mapfile -t units < <(git ls-files '*.cc' | grep -v '_test\.cc$')
mapfile -t tests < <(git ls-files '*_test.cc')
echo "clang-tidy: ${#units[@]} translation units"
failed=
tidy "" "${units[@]}" || failed=1
echo "clang-tidy: ${#tests[@]} tests, without the path analyzer (GoogleTest's macros keep it busy for minutes) and hints for speed"
tidy "-clang-analyzer-*,-performance-*" "${tests[@]}" || failed=1
[[ -z $failed ]]
