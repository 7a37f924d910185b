#!/usr/bin/env bash
# Usage: lint_unit.sh DATABASE CHECKS UNIT
# clang-tidy over one translation unit, remembered: a unit that was clean is read again only when its source, a header it includes,
# the checks or clang-tidy change. DATABASE is the folder of compile_commands.json.
set -euo pipefail
database=$1 checks=$2 unit=$3
command=$(jq -r --arg file "$PWD/$unit" '[.[] | select(.file == $file)][0].command // empty' "$database/compile_commands.json")
# The project's own headers only (-MM): the system's come with the version of clang-tidy. What this configuration does not build
# (the sanitizers' own sources) is read with the flags that clang-tidy guesses.
dependencies=$unit
if [[ -n $command ]]; then
  dependencies=$(cd "$(jq -r '.[0].directory' "$database/compile_commands.json")" && eval "$command -MM -MT unit -o /dev/stdout" |
    sed 's/^unit://; s/\\$//' | tr ' ' '\n' | sed '/^$/d' | xargs realpath)
fi
key=$({
  clang-tidy --version
  cat .clang-tidy
  echo "$checks $command"
  xargs sha256sum <<< "$dependencies"
} | sha256sum | cut -d ' ' -f 1)
seen=$database/lint/$unit.clean
if [[ -f $seen && $(< "$seen") == "$key" ]]; then exit 0; fi
clang-tidy -p "$database" --quiet --checks="$checks" "$unit" 2> /dev/null
mkdir -p "$(dirname "$seen")"
echo "$key" > "$seen"
