#!/usr/bin/env python3
"""Measures what agents wait for: `dkc mcp` and `dkc serve` beside FastMCP and node's everything server, in one run.

- In: the program (--dkc, else that of `make demo`), a data directory (--lake; else the mails of the corpus are
  collected into one); a Python that has FastMCP (--fastmcp); the node packages of `scripts/package.json` (--npm).
- Out: a table on standard output; exit code 1 when somebody answers wrongly.
- Over stdio: from spawn to the answer to `initialize`; a trivial call; a search. Over HTTP: the trivial call by one, and
  by 16 connections at once. Memory is VmRSS after all that, of the process and of what it started.
- Trivial is `list_pipelines` of dkc, whose answer is as short as an echo, which the others are asked for.
- A search of FastMCP is one of SQLite's FTS5 over the subjects and texts of the same mails: ten rows, ranked, with a
  snippet. That of dkc is by words, and does the rest too: who asks may see what, a line in the audit, a fence around
  what was found. Each word is asked for in turn; the first round is not counted.
- One client, written here, speaks JSON-RPC to all: that of 2025-11-25. It shares the cores with who is measured.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field

from measure import CORES, Failed
from run import DKC
from serve_peers import make_token, megabytes, stop

CACHE = pathlib.Path(os.environ.get("DKC_CACHE") or pathlib.Path.home() / ".cache/dkc")
CORPUS = pathlib.Path(os.environ.get("DKC_CORPUS") or CACHE / "corpus/package/data")
VERSION = "2025-11-25"
WORDS = ("invoice", "linux", "meeting", "perl", "razor", "mortgage", "python", "kernel", "free", "exmh")
CONNECTIONS, START_SECONDS, WARM_CALLS = 16, 60, 20
HELLO = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}

FASTMCP = '''
import sqlite3, sys
from fastmcp import FastMCP

path, port = sys.argv[1:]
database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
server = FastMCP("peer")

@server.tool
def echo(message: str) -> str:
    """Says it again."""
    return message

@server.tool
def search(q: str, limit: int = 10) -> list[dict]:
    """Finds mails by their words."""
    rows = database.execute("SELECT subject, snippet(mails, 1, '', '', '…', 32), rank FROM mails "
                            "WHERE mails MATCH ? ORDER BY rank LIMIT ?", (f'"{q}"', limit))
    return [{"title": title, "snippet": snippet, "score": score} for title, snippet, score in rows]

if port == "0":
    server.run(show_banner=False)
else:
    server.run(transport="http", host="127.0.0.1", port=int(port), show_banner=False, log_level="error")
'''


@dataclass
class Peer:
    """A server: its commands over stdio and, of a port, over HTTP; its trivial call, and its search of a word."""
    name: str
    stdio: list
    http: object
    trivial: tuple
    search: object = None
    headers: dict = field(default_factory=dict)
    env: dict = field(default_factory=dict)
    path: str = "/mcp"


def body(number, method, params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def checked(who, message):
    """The result of a call, which must be a good one."""
    result = message.get("result")
    if result is None or result.get("isError"):
        raise Failed(f"{who} answers: {json.dumps(message)[:500]}")
    return result


class Stdio:
    """A server that is spoken to by lines."""

    def __init__(self, peer, log):
        self.peer, self.number = peer, 0
        self.process = subprocess.Popen([str(part) for part in peer.stdio], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log, env=os.environ | peer.env, start_new_session=True)

    def ask(self, method, params):
        self.number += 1
        self.process.stdin.write(body(self.number, method, params).encode() + b"\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("id") == self.number and "method" not in message:
                return checked(self.peer.name, message)
        raise Failed(f"{self.peer.name} ended before it answered {method}")

    def begin(self):
        self.ask("initialize", HELLO)
        self.process.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        self.process.stdin.flush()

    def call(self, name, arguments):
        return self.ask("tools/call", {"name": name, "arguments": arguments})


class Http:
    """A connection to a server over HTTP, with a session if it gives one."""

    def __init__(self, peer, port):
        self.peer, self.number = peer, 0
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"} | peer.headers

    def post(self, text):
        # In one piece: a head and a body that are sent apart wait for each other.
        self.connection.request("POST", self.peer.path, body=text.encode(), headers=self.headers)
        answer = self.connection.getresponse()
        said = answer.read().decode()
        if answer.status not in (200, 202):
            raise Failed(f"{self.peer.name} answers {answer.status}: {said[:500]}")
        if session := answer.getheader("Mcp-Session-Id"):
            self.headers["Mcp-Session-Id"] = session
        if (answer.getheader("Content-Type") or "").startswith("text/event-stream"):
            events = [line[5:].strip() for line in said.splitlines() if line.startswith("data:")]
            said = [event for event in events if event][-1]
        return json.loads(said) if said else None

    def ask(self, method, params):
        self.number += 1
        return checked(self.peer.name, self.post(body(self.number, method, params)))

    def begin(self):
        self.ask("initialize", HELLO)
        self.headers["MCP-Protocol-Version"] = VERSION
        self.post('{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def call(self, name, arguments):
        return self.ask("tools/call", {"name": name, "arguments": arguments})


def took(calls):
    """Milliseconds of each call."""
    found = []
    for call in calls:
        began = time.perf_counter()
        call()
        found.append((time.perf_counter() - began) * 1e3)
    return found


def percentiles(found):
    ordered = sorted(found)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def over_stdio(peer, options, log):
    starts = []
    for _ in range(options.starts):
        began = time.perf_counter()
        server = Stdio(peer, log)
        try:
            server.begin()
            starts.append((time.perf_counter() - began) * 1e3)
        finally:
            server.process.stdin.close()
            stop(server.process)
    server = Stdio(peer, log)
    try:
        server.begin()
        figures = {"start": statistics.median(starts)}
        took(lambda: server.call(*peer.trivial) for _ in range(WARM_CALLS))
        figures["trivial"] = percentiles(took([lambda: server.call(*peer.trivial)] * options.calls))
        if peer.search:
            words = WORDS * -(-options.calls // len(WORDS) // 4)
            for word in WORDS:
                if word not in json.dumps(server.call(*peer.search(word))).lower():
                    raise Failed(f"{peer.name} finds nothing of `{word}`")
            figures["search"] = percentiles(took([lambda word=word: server.call(*peer.search(word)) for word in words]))
        figures["memory"] = megabytes(server.process.pid)
        return figures
    finally:
        server.process.stdin.close()
        stop(server.process)


def connected(peer, port):
    client = Http(peer, port)
    client.begin()
    return client


def over_http(peer, options, log):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command, more = peer.http(port)
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               env=os.environ | peer.env | more, start_new_session=True)
    try:
        deadline = time.perf_counter() + START_SECONDS
        while True:
            try:
                client = connected(peer, port)
                break
            except (OSError, http.client.HTTPException):
                if process.poll() is not None or time.perf_counter() > deadline:
                    raise Failed(f"{peer.name} did not start over HTTP") from None
                time.sleep(0.02)
        took(lambda: client.call(*peer.trivial) for _ in range(WARM_CALLS))
        figures = {"http": percentiles(took([lambda: client.call(*peer.trivial)] * options.calls))}
        clients, ready = [connected(peer, port) for _ in range(CONNECTIONS)], threading.Barrier(CONNECTIONS + 1)

        def work(client):
            ready.wait()
            for _ in range(options.calls // 4):
                client.call(*peer.trivial)

        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            working = [pool.submit(work, client) for client in clients]
            ready.wait()
            began = time.perf_counter()
            for one in working:
                one.result()
            figures["rate"] = CONNECTIONS * (options.calls // 4) / (time.perf_counter() - began)
        figures["http memory"] = megabytes(process.pid)
        return figures
    finally:
        stop(process)


def make_lake(work, dkc):
    """The mails of the corpus, collected and indexed by words; the data directory."""
    mail = work / "mail"
    for part in ("cur", "new", "tmp"):
        (mail / part).mkdir(parents=True)
    for number, file in enumerate(sorted(CORPUS.glob("*/*.txt"))):
        (mail / "cur" / f"{number:06}.host:2,").write_bytes(file.read_bytes())
    (work / "dkc.toml").write_text('[[pipeline]]\nname = "mail"\nsource = { kind = "maildir", path = "mail" }\n')
    for arguments in (["run"], ["index", "build"]):
        subprocess.run([dkc, "--data", work / "data", *arguments], cwd=work, check=True, stdout=subprocess.DEVNULL)
    return work / "data"


def make_database(path, dkc, lake):
    """The same mails for SQLite's FTS5."""
    query = "SELECT subject, body_text FROM emails"
    rows = subprocess.run([dkc, "--data", lake, "sql", "-c", query, "--format", "ndjson"], check=True,
                          stdout=subprocess.PIPE).stdout.splitlines()
    mails = [json.loads(row) for row in rows]
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE VIRTUAL TABLE mails USING fts5(subject, text)")
        database.executemany("INSERT INTO mails VALUES (?, ?)",
                             ((mail.get("subject"), mail.get("body_text")) for mail in mails))
        database.execute("INSERT INTO mails(mails) VALUES ('optimize')")
    return len(mails)


def peers(work, lake, options):
    def of_dkc(word):
        return "search", {"q": word, "mode": "words", "limit": 10}

    if "dkc" in options.only:
        base, made = [options.dkc, "--data", lake], make_token(options.dkc, lake)
        # Without a token an agent over stdio may ask only so often.
        # `list_pipelines` is of one that agents are not given unless they say so.
        toolsets = "search,monitoring"
        yield Peer("dkc", [*base, "mcp", "--toolsets", toolsets, "--token", "env:DKC_BENCH_TOKEN"],
                   lambda port: ([*base, "serve", "--listen", f"127.0.0.1:{port}", "--quiet"], {}),
                   ("list_pipelines", {}), of_dkc, {"Authorization": f"Bearer {made}"}, {"DKC_BENCH_TOKEN": made},
                   f"/mcp?toolsets={toolsets}")
    if "fastmcp" in options.only:
        script = work / "peer.py"
        script.write_text(FASTMCP)
        command = [options.fastmcp, script, work / "mails.sqlite"]
        yield Peer("FastMCP", [*command, 0], lambda port: ([*command, port], {}), ("echo", {"message": "x"}),
                   lambda word: ("search", {"q": word, "limit": 10}), env={"FASTMCP_LOG_LEVEL": "ERROR"})
    if "everything" in options.only:
        modules = options.npm / "node_modules"
        command = [modules / ".bin/node", modules / ".bin/mcp-server-everything"]
        yield Peer("server-everything", [*command, "stdio"],
                   lambda port: ([*command, "streamableHttp"], {"PORT": str(port)}), ("echo", {"message": "x"}))


def table(lines):
    def both(line, name):
        return "{:.2f} / {:.2f}".format(*line[name]) if name in line else "–"

    print("| who | start, ms | call p50 / p99, ms | search p50 / p99, ms | HTTP p50 / p99, ms "
          f"| calls/s at {CONNECTIONS} | RSS stdio, MB | RSS HTTP, MB |\n|---|--:|--:|--:|--:|--:|--:|--:|")
    for line in lines:
        print(f"| {line['name']} | {line['start']:,.0f} | {both(line, 'trivial')} | {both(line, 'search')} "
              f"| {both(line, 'http')} | {line['rate']:,.0f} | {line['memory']:,.0f} | {line['http memory']:,.0f} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--dkc", type=pathlib.Path, default=DKC, help="the program")
    arguments.add_argument("--lake", type=pathlib.Path, help="a data directory with `emails`, indexed")
    arguments.add_argument("--fastmcp", type=pathlib.Path, default=pathlib.Path(sys.executable),
                           help="a Python that has FastMCP")
    arguments.add_argument("--npm", type=pathlib.Path, default=os.environ.get("DKC_NPM") or CACHE / "npm",
                           help="the folder of the node packages")
    arguments.add_argument("--only", type=lambda text: text.split(","), default=["dkc", "fastmcp", "everything"],
                           help="NAME,...: of dkc, fastmcp, everything")
    arguments.add_argument("--calls", type=int, default=1_000, help="of each kind")
    arguments.add_argument("--starts", type=int, default=10, help="of each server")
    options = arguments.parse_args()
    if unknown := set(options.only) - {"dkc", "fastmcp", "everything"}:
        arguments.error(f"--only knows dkc, fastmcp, everything, not {', '.join(sorted(unknown))}")
    options.dkc, options.npm, others = options.dkc.absolute(), pathlib.Path(options.npm).absolute(), os.getloadavg()[0]
    lines = []
    with tempfile.TemporaryDirectory(prefix="dkc-bench-") as temporary, tempfile.TemporaryFile() as log:
        work = pathlib.Path(temporary)
        lake = options.lake.resolve() if options.lake else make_lake(work, options.dkc)
        mails = make_database(work / "mails.sqlite", options.dkc, lake) if "fastmcp" in options.only else 0
        for peer in peers(work, lake, options):
            try:
                lines.append({"name": peer.name} | over_stdio(peer, options, log) | over_http(peer, options, log))
            except Failed:
                log.seek(0)
                print(log.read().decode(errors="replace")[-2000:], file=sys.stderr)
                raise
            print(f"  {peer.name}: measured", file=sys.stderr, flush=True)
    print(f"{mails:,} mails, {options.calls:,} calls of each kind, {CORES} cores, load before {others:.1f}\n")
    table(lines)


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, subprocess.SubprocessError) as why:
        sys.exit(f"mcp_peers: {why}")
