#!/usr/bin/env python3
"""Measures dkc beside what its user would pick instead, in one run: `make bench`.

- In: the corpus (DKC_CORPUS), the program (DKC, else that of `make demo`), a Python with pyarrow (DKC_PYTHON).
- Out: a table on standard output and in RESULTS.md; exit code 1 when a target is missed.
- Every figure is the fastest of three rounds with a warm page cache, unless its command says otherwise.
- Not here: what is measured inside the program (`benches/convert.rs`).
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

import measure
from dovecot import PASSWORD, USER, Dovecot
from measure import Failed, best
from report import Results, judge, table

HERE = pathlib.Path(__file__).resolve().parent


def setting(name, otherwise):
    """A path that the Makefile sets."""
    return pathlib.Path(os.environ.get(name) or otherwise)


CACHE = setting("DKC_CACHE", setting("XDG_CACHE_HOME", pathlib.Path.home() / ".cache") / "dkc")
CORPUS = setting("DKC_CORPUS", CACHE / "corpus" / "package" / "data")
TARGET = setting("CARGO_TARGET_DIR", CACHE / "target")
DKC = setting("DKC", TARGET / "debug" / "dkc")
PYTHON = setting("DKC_PYTHON", CACHE / "venv" / "bin" / "python")
SECRETS = {"BENCH_PASSWORD": PASSWORD}


def size_of(directory):
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())


class Dkc:
    """`dkc run` of one pipeline into a data directory of its own."""

    def __init__(self, work, name, source):
        self.data, self.config = work / f"{name}-data", work / f"{name}.toml"
        self.config.write_text(f'[[pipeline]]\nname = "{name}"\nsource = {{ {source} }}\n')
        self.command = [DKC, "--config", self.config, "--data", self.data, "--json", "run"]

    def afresh(self):
        shutil.rmtree(self.data, ignore_errors=True)


def counted(seen, stored):
    """A check that a run counted what it had to."""
    def check(output):
        run = json.loads(output)["runs"][0]
        counts = (run["items_seen"], run["items_stored"] + run["items_rejected"])
        if counts != (seen, stored) or run["state"] not in ("succeeded", "partly_succeeded"):
            raise Failed(f"expected {seen} items seen and {stored} of them stored or rejected: {output}")
    return check


def all_read(mails):
    """A check that a command printed that number."""
    def check(output):
        if int(output) != mails:
            raise Failed(f"{output} of {mails} mails")
    return check


def ingest(results, work, what, source, mails, **settings):
    """A first run and one with nothing new, without the index of search; the data stays for whoever asks further."""
    dkc = Dkc(work, what.replace(" ", "-"), source)
    durable = [*dkc.command, "--no-index"]
    taken = best(durable, dkc.afresh, counted(mails, mails), **settings)
    results.add(f"dkc {what}", mails / taken.seconds, "msg/s", "dkc run --no-index", taken)
    results.add(f"dkc {what}, peak memory", taken.peak_mb, "MB")
    again = best(durable, check=counted(mails, 0), **settings)
    results.add(f"dkc {what}, nothing new", again.seconds, "s", "dkc run --no-index, again", again)
    results.add(f"dkc {what}, nothing new, peak memory", again.peak_mb, "MB")
    return dkc


def searchable(results, what, dkc, mails, rounds, **settings):
    """A first run with the index of search: by words, and by meaning where there is a model."""
    taken = best(dkc.command, dkc.afresh, counted(mails, mails), rounds, **settings)
    words = "dkc run" + (" (one round)" if rounds == 1 else "")
    results.add(f"dkc {what}, searchable too", mails / taken.seconds, "msg/s", words, taken)
    results.add(f"dkc {what}, searchable too, peak memory", taken.peak_mb, "MB")


def peer(results, what, mails, program, command, before, words, rounds, check=lambda output: None, **settings):
    if shutil.which(program) is None:
        return results.not_measured(what, f"{program} is not installed", words)
    with skipped(results, what, words):
        taken = best(command, before, check, rounds, **settings)
        words += " (one round)" if rounds == 1 else ""
        results.add(what, mails / taken.seconds, "msg/s", words, taken)
        results.add(f"{what}, peak memory", taken.peak_mb, "MB")


@contextlib.contextmanager
def skipped(results, what, words):
    """A measurement that fails is a line of the table, and the others go on."""
    try:
        yield
    except (Failed, OSError, RuntimeError, subprocess.CalledProcessError) as error:
        results.not_measured(what, str(error).strip().replace("\n", " ")[:300], words)


def peers(results, work, size, box, mails, rounds):
    """What reads a Maildir in place of dkc. Slow ones get one round on the ten-fold copy."""
    scratch = work / "peer"

    def empty():
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()

    maildir = box / "maildir"
    peer(results, f"Python pipeline, {size}", mails, str(PYTHON),
         [PYTHON, HERE / "peer_pipeline.py", maildir, scratch / "out"], empty,
         "peer_pipeline.py: email.parser in two processes, pyarrow", measure.ROUNDS, all_read(mails),
         reads=maildir)
    mu = 'mu init --quiet --muhome="$1" --maildir="$2" && mu index --quiet --muhome="$1"'
    peer(results, f"mu, {size}", mails, "mu", ["sh", "-c", mu, "sh", scratch / "mu", maildir], empty,
         "mu init, mu index", rounds, reads=maildir)
    if rounds == 1:
        return

    def empty_notmuch():
        empty()
        (scratch / "config").write_text(
            f"[database]\npath={scratch}/notmuch\nmail_root={maildir}\n[new]\ntags=new\n"
            "[user]\nname=me\nprimary_email=me@localhost\n[maildir]\nsynchronize_flags=false\n")
        (scratch / "notmuch").mkdir()

    peer(results, f"notmuch, {size}", mails, "notmuch", ["notmuch", "new", "--quiet"], empty_notmuch,
         "notmuch new", rounds, reads=maildir, env={"NOTMUCH_CONFIG": str(scratch / "config")})


def files(results, work, size, box, facts, rounds):
    """Maildir and mbox."""
    mails = facts["mails"]
    with skipped(results, f"dkc maildir {size}", "dkc run --no-index"):
        dkc = ingest(results, work, f"maildir {size}", f'kind = "maildir", path = "{box}/maildir"', mails,
                     reads=box / "maildir")
        results.add(f"lake of {size} mails, originals in it", size_of(dkc.data / "lake") / 1e6, "MB", "after it")
        results.add(f"{size} mails gzipped one by one", facts["gzipped"] / 1e6, "MB", "gzip -6")
        searchable(results, f"maildir {size}", dkc, mails, rounds, reads=box / "maildir")
        dkc.afresh()
    with skipped(results, f"dkc mbox {size}", "dkc run --no-index"):
        ingest(results, work, f"mbox {size}", f'kind = "mbox", path = "{box}/mbox"', mails,
               reads=box / "mbox").afresh()
    peers(results, work, size, box, mails, rounds)


def bodies_alone(port, folders):
    """Reads all bodies and drops them: what the server can do. Prints how many there were."""
    bodies = 0
    with socket.create_connection(("127.0.0.1", port)) as there:
        replies = there.makefile("rb")
        replies.readline()

        def ask(command):
            there.sendall(b"a " + command.encode() + b"\r\n")
            literals = 0
            for line in replies:
                if line.startswith(b"a "):
                    if not line.startswith(b"a OK"):
                        sys.exit(f"{command}: {line!r}")
                    return literals
                if line.endswith(b"}\r\n"):
                    replies.read(int(line.rpartition(b"{")[2][:-3]))
                    literals += 1

        ask(f"LOGIN {USER} {PASSWORD}")
        for folder in folders:
            ask(f'EXAMINE "{folder}"')
            bodies += ask("UID FETCH 1:* (BODY.PEEK[])")
    print(bodies)


def folders_of(maildir):
    return ["INBOX"] + sorted(entry.name[1:] for entry in maildir.glob(".*") if (entry / "cur").is_dir())


def imap(results, work, box, mails):
    """From a Dovecot of our own: dkc, mbsync, and the server alone."""
    server = Dovecot(work / "dovecot", box / "maildir")
    try:
        folders, settings = folders_of(box / "maildir"), {
            "server": server.server.pid, "env": SECRETS, "reads": server.maildir}
        alone = [sys.executable, __file__, "--bodies-alone", str(server.port), *folders]
        taken = best(alone, check=all_read(mails), **settings)
        results.add("IMAP, Dovecot alone", mails / taken.seconds, "msg/s",
                    "UID FETCH 1:* (BODY.PEEK[]), dropped", taken)
        mbsync(results, work / "mbsync", server, mails)
        with skipped(results, "dkc imap", "dkc run --no-index"):
            source = (f'kind = "imap", host = "127.0.0.1", port = {server.port}, tls = "none", '
                      f'user = "{USER}", password = "env:BENCH_PASSWORD"')
            dkc = ingest(results, work, "imap", source, mails, **settings)
            searchable(results, "imap", dkc, mails, 1, **settings)
            some = itertools.count(1)
            taken = best(dkc.command, lambda: change(server, folders, next(some)), changed, **settings)
            results.add("dkc imap, four changes", taken.seconds, "s",
                        "dkc run, after one new, one flagged, one moved, one expunged", taken)
    finally:
        server.stop()


def mbsync(results, local, server, mails):
    """A copy into a Maildir; nothing on the server changes."""
    def empty():
        shutil.rmtree(local, ignore_errors=True)
        (local / "mail").mkdir(parents=True)
        (local / "mbsyncrc").write_text(
            f"IMAPAccount there\nHost 127.0.0.1\nPort {server.port}\nUser {USER}\nPass {PASSWORD}\n"
            f"SSLType None\nAuthMechs LOGIN\n\nIMAPStore there\nAccount there\n\n"
            f"MaildirStore here\nPath {local}/mail/\nInbox {local}/mail/INBOX\nSubFolders Verbatim\n\n"
            f"Channel all\nFar :there:\nNear :here:\nPatterns *\nCreate Near\nSync Pull\nSyncState *\n")

    def all_there(_output):
        synced = sum(1 for part in ("cur", "new") for _ in local.rglob(f"{part}/*"))
        if synced != mails:
            raise Failed(f"it fetched {synced} of {mails} mails")

    command = ["mbsync", "--quiet", "--config", local / "mbsyncrc", "--all"]
    peer(results, "mbsync", mails, "mbsync", command, empty, "mbsync --all, into a Maildir", measure.ROUNDS, all_there, server=server.server.pid,
         reads=server.maildir)


def change(server, folders, n):
    """One new, one flagged, one moved and one expunged message; the nth time with others than before."""
    first, second = folders[1], folders[2]
    mail = f"From: a@example.org\nSubject: new {n}\nMessage-ID: <new-{n}@example.org>\n\nNew.\n".encode()
    server.doveadm("save", "-u", USER, "-m", "INBOX", mail=mail)
    server.doveadm("flags", "add", "-u", USER, "\\Flagged", "mailbox", "INBOX", "uid", str(n))
    server.doveadm("move", "-u", USER, first, "mailbox", second, "uid", str(n))
    server.doveadm("expunge", "-u", USER, "mailbox", first, "uid", str(n))


def changed(output):
    run = json.loads(output)["runs"][0]
    # New, flagged and moved are stored; the message that was expunged is gone.
    if (run["items_stored"], run["items_rejected"], run["items_vanished"]) != (3, 0, 1):
        raise Failed(f"expected 3 items stored and 1 vanished: {output}")


def inside(results):
    """Parsing alone and the steps of our own, in one process: `cargo bench`."""
    command = ["cargo", "bench", "--quiet", "--workspace", "--profile", "dev", "--bench", "convert"]
    words = "cargo bench --profile dev --bench convert"
    with skipped(results, "mail-parser alone", words):
        env = {"DKC_CORPUS": str(CORPUS), "CARGO_TARGET_DIR": str(TARGET)}
        for line in best(command, rounds=1, env=env).output.splitlines():
            what, per_second, _megabytes = line.split("\t")
            results.add(what, float(per_second), "msg/s", words)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--quick", action="store_true", help="only the 6,046 mails, not their ten-fold copy")
    arguments.add_argument("--only", default="inside,files,imap", help="some of these parts; no RESULTS.md then")
    arguments.add_argument("--bodies-alone", nargs="+", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.bodies_alone:
        return bodies_alone(int(options.bodies_alone[0]), options.bodies_alone[1:])
    parts = options.only.split(",")
    sizes = {"6k": 1} if options.quick else {"6k": 1, "60k": 10}
    results = Results()
    with tempfile.TemporaryDirectory(prefix="dkc-bench-") as temporary:
        work = pathlib.Path(temporary)
        work.chmod(0o755)  # Dovecot serves mail as another user
        boxes = {}
        for size, copies in sizes.items():
            box = work / size
            make = [sys.executable, HERE / "mailboxes.py", CORPUS, box, str(copies)]
            boxes[size] = box, json.loads(subprocess.run(make, check=True, stdout=subprocess.PIPE).stdout)
            if "files" not in parts:
                break
        if "inside" in parts:
            inside(results)
        if "files" in parts:
            for size, (box, facts) in boxes.items():
                files(results, work, size, box, facts, measure.ROUNDS if size == "6k" else 1)
        if "imap" in parts:
            imap(results, work, boxes["6k"][0], boxes["6k"][1]["mails"])
    judge(results, sizes)
    text, missed = table(results, options.quick)
    print(text)
    if options.only == arguments.get_default("only"):
        (HERE / "RESULTS.md").write_text(text)
    # Something that was not measured has not met its target either, unless a peer is missing.
    ours = [line for line in results.lines if line.what.startswith("dkc")]
    sys.exit(1 if missed or any(isinstance(line.figure, str) for line in ours) else 0)


if __name__ == "__main__":
    main()
