#!/usr/bin/env bash
# Measures what a change costs: a build with nothing to do, and one line of a collector changed, rebuilt and
# tested. Dependencies are built first, outside the measurement.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

file=collectors/src/maildir.rs
kept=$(mktemp)
cp -p "$file" "$kept"
trap 'cp -p "$kept" "$file"; rm -f "$kept"' EXIT

# measure WHAT COMMAND…: runs the command in silence and prints how long it took.
measure() {
  local what=$1 from=$EPOCHREALTIME
  shift
  "$@" >/dev/null 2>&1 || { echo "$*: failed" >&2; exit 1; }
  awk -v what="$what" -v from="$from" -v to="$EPOCHREALTIME" 'BEGIN { printf "%6.1f s  %s\n", to - from, what }'
}

cargo build-dkc
cargo test --package collectors >/dev/null
measure "dkc, nothing changed" cargo build-dkc
echo "// one line" >>"$file"
measure "a line of a collector changed: collectors rebuilt and tested" cargo test --package collectors
measure "the same line: dkc rebuilt" cargo build-dkc
