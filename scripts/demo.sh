#!/usr/bin/env bash
# The demo: a generated mailbox, collected into ./demo/data, then asked. It begins afresh each time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build-dkc
dkc=${CARGO_TARGET_DIR:-target}/debug/dkc

rm -rf demo
mkdir demo
python3 scripts/make_sample_mail.py demo/mail
cat >demo/dkc.toml <<TOML
[[pipeline]]
name = "mail"
source = { kind = "maildir", path = "$PWD/demo/mail" }
TOML

# run ARGUMENT…: shows the command, then what it prints.
run() {
  printf '\n$ dkc'; printf ' %q' "$@"; printf '\n'
  "$dkc" --config demo/dkc.toml --data demo/data "$@"
}
# ask QUESTION SQL: shows the question, then the answer.
ask() {
  printf '\n%s\n%s\n' "$1" "$2"
  "$dkc" --config demo/dkc.toml --data demo/data sql -c "$2"
}

run run
run runs
ask "Who writes most?" "
  SELECT from_name, count(*) AS messages, max(date) AS latest
  FROM emails GROUP BY from_name ORDER BY messages DESC, from_name LIMIT 5"
ask "Which attachments take the space?" "
  SELECT media_type, count(*) AS files, sum(size_bytes) AS bytes
  FROM email_attachments GROUP BY media_type ORDER BY bytes DESC"
ask "Which conversations were longest?" "
  SELECT min(subject) AS subject, count(*) AS messages, max(date) - min(date) AS lasted
  FROM emails GROUP BY thread_id ORDER BY messages DESC, subject LIMIT 5"
ask "What could not be read, and why?" "SELECT reason, count(*) AS items FROM rejects GROUP BY reason"
run export emails --to demo/emails.csv
run verify

cat <<END

Where things lie, all under ./demo (\`make clean\` removes it):
  dkc.toml                       what to collect
  mail/                          the mailbox, as it was
  data/lake/catalog.sqlite       the DuckLake catalog; DuckDB reads it
  data/lake/files/               rows and originals in Parquet
  emails.csv                     the export

Ask on:  $dkc --config demo/dkc.toml --data demo/data sql -c "SELECT count(*) FROM emails"
END
