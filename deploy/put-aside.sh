#!/usr/bin/env bash
# Makes room for a run of the same name. One that has ended becomes runs/NAME.previous, and its coordinator's state is removed; one
# that was interrupted stays, and is taken up again by the same `hone up`. Usage: deploy/put-aside.sh NAME
set -euo pipefail
cd "$(dirname "$0")/.."
run=runs/${1:?name of the run}
state=runs/.hone-$1
grep -qE '"state": "(succeeded|failed|stopped)"' "$run/summary.json" 2> /dev/null || exit 0
# `hone up` holds this lock while it lives.
if [ -e "$state/lock" ] && ! flock --nonblock "$state/lock" true; then
  echo "put-aside: a \`hone up\` with the state folder $state is running; end it with \`hone down --state $state\`" >&2
  exit 1
fi
rm -rf "$run.previous" "$state"
mv "$run" "$run.previous"
