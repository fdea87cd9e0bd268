#!/usr/bin/env python3
"""Measures `dkc serve` beside what answers the same question over the same mails.

- In: the program (--dkc, else DKC, else that of `make demo`); a data directory (--lake), else the 60,000 mails of
  `make bench` are collected into one; wrk; PostgreSQL's programs; a Python with what stands below.
- Out: a table on standard output; exit code 1 when an answer is not that of the mails.
- The question: of one sender the newest 50 mails, six columns, as JSON. wrk rotates over the 200 most frequent senders,
  with one thread, which shares the cores with who is measured. Requests are made ahead, so Lua costs little.
- dkc keeps answers until the lake changes: it is asked the same 200 questions as the others, and apart from that ("new")
  20,000, in turn, more than it keeps: each is answered from the rows.
- FastAPI over PostgreSQL has one worker, then two; Datasette over SQLite the threads it has by default, then none. What
  answers more at 16 connections counts; standard error tells of both. roapi takes its Parquet into memory.
- PostgreSQL is started before FastAPI; its memory is told on standard error, as its processes share most of it.
- Start is from spawn to the first answer to the question. Memory is VmRSS of all processes of the server.
"""

# `make bench-serve` installs it: wrk and postgresql of Debian, the rest into a virtual environment of its own.
import argparse
import collections
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from urllib.parse import quote

from measure import CORES, Failed
from run import DKC
from sql import files_of, make_mails

KEPT = {"_source": "source", "_item": "item"} | {name: name for name in (
    "message_id", "date", "from_name", "from_addr", "subject", "size_bytes", "attachment_count")}
ASKED = ("message_id", "date", "from_name", "from_addr", "subject", "size_bytes")
LIMIT, SENDERS, SAMPLES = 50, 200, 5
START_SECONDS, SETTLE_SECONDS, ANSWER_SECONDS, WARM_SECONDS = 60, 1, 30, 2

TABLE = """CREATE TABLE emails (source text, item text, message_id text, date {date}, from_name text, from_addr text,
subject text, size_bytes bigint, attachment_count bigint)"""

FASTAPI = f'''
import contextlib, os
import asyncpg, orjson
from fastapi import FastAPI, Response

QUERY = """SELECT {", ".join(ASKED)} FROM emails WHERE from_addr = $1 ORDER BY date DESC NULLS LAST LIMIT {LIMIT}"""

@contextlib.asynccontextmanager
async def lifespan(app):
    async with asyncpg.create_pool(host=os.environ["PEER_SOCKET"], user="bench", database="postgres",
                                   min_size=4, max_size=4) as app.state.pool:
        yield

app = FastAPI(lifespan=lifespan)

@app.get("/rows")
async def rows(from_addr: str):
    found = await app.state.pool.fetch(QUERY, from_addr)
    return Response(orjson.dumps([dict(row) for row in found]), media_type="application/json")

@app.get("/healthz")
async def healthz():
    return Response(b'{{"status":"ok"}}', media_type="application/json")
'''

# A request is text made once. wrk counts an answer beyond 399 as an error of status.
LUA = """
local requests, next = {}, 0
function init()
  for _, path in ipairs({%s}) do requests[#requests + 1] = wrk.format("GET", path, {%s}) end
end
function request()
  next = next %% #requests + 1
  return requests[next]
end
function done(all, latency)
  local e = all.errors
  io.write(string.format('\\nDONE {"requests": %%d, "us": %%d, "bytes": %%d, "p50": %%d, "p99": %%d, "errors": %%d}\\n',
    all.requests, all.duration, all.bytes, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass
class Peer:
    """A server: its command, of a port; where it answers, `{}` being the sender, and with what behind that; where it says that
    it is well."""
    name: str
    command: object
    question: str
    health: str = ""
    headers: dict = field(default_factory=dict)
    env: dict = field(default_factory=dict)
    behind: tuple = ("",)

    def ask(self, sender):
        return self.question.format(quote(sender, safe=""))


class Work:
    """A temporary directory, the mails that each peer is given, and what is asked of them."""

    def __init__(self, directory, lake):
        from pyarrow import parquet
        self.directory = directory
        directory.chmod(0o755)  # PostgreSQL is another user
        mails = parquet.ParquetDataset(files_of(lake, "emails")).read(list(KEPT))
        self.mails = mails.select(list(KEPT)).rename_columns(list(KEPT.values()))
        of = collections.defaultdict(list)
        for sender, date, message in zip(*(self.mails[name].to_pylist() for name in ("from_addr", "date", "message_id"))):
            if sender is not None:
                of[sender].append((date, message))
        self.senders = sorted(of, key=lambda sender: (-len(of[sender]), sender))[:SENDERS]
        # Of a sample it is sure which are the newest: all have a date, and the first left out has another than the last.
        self.expected = {}
        for sender in self.senders[::SENDERS // SAMPLES // 4]:
            if len(self.expected) < SAMPLES and all(date for date, _ in of[sender]):
                newest = sorted(of[sender], key=lambda mail: mail[0], reverse=True)
                if len(newest) <= LIMIT or newest[LIMIT - 1][0] != newest[LIMIT][0]:
                    self.expected[sender] = {message for _, message in newest[:LIMIT]}
        if len(self.expected) < SAMPLES:
            raise Failed(f"{lake} has too few senders of whom the newest mails are sure")

    def spawn(self, name, command, **settings):
        """Starts a program in a group of its own."""
        with open(self.directory / f"{name}.log", "wb") as log:
            return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    start_new_session=True, cwd=self.directory, **settings)


@contextlib.contextmanager
def postgres(work, programs):
    """A cluster of its own with the mails, to which only a socket leads; its process."""
    from pyarrow import csv
    if not programs or not (programs / "initdb").exists():
        raise Failed("PostgreSQL is missing; install it, or name the directory of initdb with --postgres")
    home = work.directory / "postgres"
    home.mkdir()
    other = {}
    if os.geteuid() == 0:  # as whom PostgreSQL refuses to run
        other = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(home, "postgres", "postgres")
    initdb = [programs / "initdb", "-D", home / "data", "-U", "bench", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=home, **other)
    server = [programs / "postgres", "-D", home / "data", "-k", home, "-c", "listen_addresses="]
    process = work.spawn("PostgreSQL", server, **other)
    try:
        wait("PostgreSQL", process, lambda: not subprocess.run([programs / "pg_isready", "-q", "-h", home]).returncode)
        csv.write_csv(work.mails, work.directory / "mails.csv", csv.WriteOptions(include_header=False))
        for statement in (TABLE.format(date="timestamptz"), f"\\copy emails FROM '{work.directory}/mails.csv' CSV",
                          "CREATE INDEX newest ON emails (from_addr, date DESC NULLS LAST)", "VACUUM ANALYZE emails"):
            subprocess.run([programs / "psql", "-q", "-h", home, "-U", "bench", "-v", "ON_ERROR_STOP=1", "-c", statement,
                            "postgres"], check=True)
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # which ends its sessions too
        process.wait()


def start_dkc(dkc, lake):
    """The command of the gateway over the lake, of a port."""
    return lambda port: [dkc, "--data", lake, "serve", "--listen", f"127.0.0.1:{port}", "--quiet"]


def make_token(dkc, lake):
    """A token that the gateway takes for a day."""
    create = ["token", "create", f"bench {time.time_ns()}", "--expires", "1d", "--json"]
    made = subprocess.run([dkc, "--data", lake, *create], check=True, stdout=subprocess.PIPE)
    return json.loads(made.stdout)["token"]


def of_dkc(_work, options, name="dkc", behind=("",)):
    yield Peer(name, start_dkc(options.dkc, options.lake),
               f"/api/v1/datasets/emails/rows?filter=from_addr:eq:{{}}&columns={'&columns='.join(ASKED)}&sort=-date&limit={LIMIT}", "/healthz",
               {"Authorization": f"Bearer {make_token(options.dkc, options.lake)}"}, behind=behind)


def of_dkc_anew(work, options):
    """Asked what every mail fits beside, in 100 ways."""
    return of_dkc(work, options, "dkc, each question new", [f"&filter=size_bytes:ge:-{n}" for n in range(100)])


def of_fastapi(work, _options):
    (work.directory / "peer.py").write_text(FASTAPI)
    for workers in (1, 2):
        command = [sys.executable, "-m", "uvicorn", "peer:app", "--workers", workers, "--no-access-log", "--log-level",
                   "warning", "--port"]
        yield Peer(f"FastAPI, workers: {workers}", lambda port, command=command: [*command, port], "/rows?from_addr={}",
                   "/healthz", env={"PEER_SOCKET": str(work.directory / "postgres")})


def of_datasette(work, _options):
    """Asked for no counts and facets, which the others do not give."""
    path, dates = work.directory / "mails.db", work.mails.column_names.index("date")
    columns = [column.to_pylist() for column in work.mails.columns]
    columns[dates] = [date and date.isoformat() for date in columns[dates]]
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(TABLE.format(date="text"))
        database.executemany(f"INSERT INTO emails VALUES ({', '.join('?' * len(columns))})", zip(*columns))
        database.execute("CREATE INDEX newest ON emails (from_addr, date DESC)")
        database.execute("ANALYZE")
    for threads in (3, 0):
        command = [sys.executable, "-m", "datasette", "serve", "--immutable", path, "--setting", "suggest_facets", "off",
                   "--setting", "num_sql_threads", threads, "--port"]
        yield Peer(f"Datasette, threads: {threads}", lambda port, command=command: [*command, port],
                   "/mails/emails.json?_shape=array&from_addr__exact={}&_sort_desc=date&_nocount=1&_nofacet=1"
                   f"&_size={LIMIT}" + "".join(f"&_col={name}" for name in ASKED))


def of_roapi(work, _options):
    from pyarrow import parquet
    parquet.write_table(work.mails, work.directory / "emails.parquet")
    beside = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [shutil.which("roapi", path=beside) or "roapi", "--table", "emails=emails.parquet", "--addr-http"]
    yield Peer("roapi", lambda port: [*command, f"127.0.0.1:{port}"], "/api/tables/emails?filter%5Bfrom_addr%5D=%27{}%27"
               f"&columns={','.join(ASKED)}&sort=-date&limit={LIMIT}", "/health", env={"RUST_LOG": "error"})


PEERS = {"dkc": of_dkc, "new": of_dkc_anew, "fastapi": of_fastapi, "datasette": of_datasette, "roapi": of_roapi}


def wait(name, process, ready):
    began = time.perf_counter()
    while not ready():
        if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
            raise Failed(f"{name} did not start")
        time.sleep(0.002)


def stop(process):
    """Ends the group that `spawn` made."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(10)


def megabytes(root, file="status", what="VmRSS:"):
    """Memory of a process and of all that descend from it (proc(5))."""
    children = collections.defaultdict(list)
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            children[int(stat.read_text().rpartition(")")[2].split()[1])].append(int(stat.parent.name))
    found, tree = 0, [root]
    for process in tree:
        tree += children[process]
        with contextlib.suppress(OSError):
            lines = pathlib.Path(f"/proc/{process}/{file}").read_text().splitlines()
            found += sum(int(line.split()[1]) for line in lines if line.startswith(what))
    return found / 1024


def get(peer, port, path):
    """The body, or nothing while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path, headers=peer.headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 503):
            raise Failed(f"{peer.name} answers {path} with {answer.status}: {body[:500]!r}")
        return body if answer.status == 200 else None


def verify(peer, port, expected):
    """The rows are a list of objects, or the list `rows` of an object. roapi leaves out what is null."""
    wrong = []
    for sender, messages in expected.items():
        answer = json.loads(get(peer, port, peer.ask(sender)) or "[]")
        rows = answer["rows"] if isinstance(answer, dict) else answer
        found, columns = {row.get("message_id") for row in rows}, set().union(*rows)
        if found != messages or not columns >= set(ASKED):
            wrong.append(f"\n  {sender}: {len(rows)} rows of {sorted(columns)}; of {len(messages)} messages missing: "
                         f"{list(messages - found)[:3]}; not expected: {list(found - messages)[:3]}")
    if wrong:
        raise Failed(f"{peer.name} answers otherwise than the mails do{''.join(wrong)}")


def load(work, peer, port, paths, connections, seconds):
    """What wrk says of so many connections."""
    script = work.directory / "load.lua"
    headers = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in peer.headers.items())
    script.write_text(LUA % (", ".join(map(json.dumps, paths)), headers))
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", f"{ANSWER_SECONDS}s",
               "-s", str(script), f"http://127.0.0.1:{port}"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(output.rpartition("DONE ")[2])
    if found["errors"] or not found["requests"]:
        raise Failed(f"{peer.name} under {connections} connections: {output}")
    return found | {"rate": found["requests"] / found["us"] * 1e6}


def measured(work, peer, seconds, beside):
    """Starts, verifies, loads and stops one; its figures. Beside it runs what it asks."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    paths = [peer.ask(sender) + behind for behind in peer.behind for sender in work.senders]
    began = time.perf_counter()
    process = work.spawn(peer.name, peer.command(port), env=os.environ | peer.env)
    try:
        wait(peer.name, process, lambda: get(peer, port, paths[0]))
        figures = {"name": peer.name, "start": (time.perf_counter() - began) * 1e3}
        time.sleep(SETTLE_SECONDS)
        figures["idle"] = megabytes(process.pid)
        verify(peer, port, work.expected)
        load(work, peer, port, paths, 16, WARM_SECONDS)
        for connections in (16, 64):
            figures[connections] = load(work, peer, port, paths, connections, seconds)
        figures["after"] = megabytes(process.pid)
        database = f"; its database holds {megabytes(beside.pid, 'smaps_rollup', 'Pss:'):,.0f} MB" if beside else ""
        figures["health"] = load(work, peer, port, [peer.health], 16, seconds)["rate"] if peer.health else None
    except Failed:
        print((work.directory / f"{peer.name}.log").read_text(errors="replace")[-2000:], file=sys.stderr)
        raise
    finally:
        stop(process)
    rate, size = figures[16]["rate"], figures[16]["bytes"] / figures[16]["requests"]
    print(f"  {peer.name}: {rate:,.0f} requests/s of {size:,.0f} bytes at 16, {figures[64]['rate']:,.0f} at 64, "
          f"p99 {figures[64]['p99'] / 1e3:,.0f} ms{database}", file=sys.stderr, flush=True)
    return figures


def compare(work, name, options):
    """The figures of a peer as it is fastest."""
    with postgres(work, options.postgres) if name == "fastapi" else contextlib.nullcontext() as beside:
        found = [measured(work, peer, options.seconds, beside) for peer in PEERS[name](work, options)]
    return max(found, key=lambda figures: figures[16]["rate"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--lake", type=pathlib.Path, help="a data directory of dkc with `emails`")
    arguments.add_argument("--only", default=",".join(PEERS), help="NAME,...: of %(default)s")
    arguments.add_argument("--seconds", type=int, default=10, help="of each load")
    arguments.add_argument("--dkc", type=pathlib.Path, default=DKC, help="the program")
    arguments.add_argument("--postgres", type=pathlib.Path, help="the directory of initdb",
                           default=max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), default=None))
    options = arguments.parse_args()
    options.dkc = options.dkc.resolve()
    names = options.only.split(",")
    if unknown := set(names) - set(PEERS):
        arguments.error(f"--only knows {', '.join(PEERS)}, not {', '.join(unknown)}")
    if not shutil.which("wrk"):
        raise Failed("wrk is missing; install the Debian package of that name")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    others = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="dkc-bench-") as temporary:
        options.lake = options.lake.resolve() if options.lake else make_mails(pathlib.Path(temporary) / "mails")
        work = Work(pathlib.Path(temporary), options.lake)
        lines = [compare(work, name, options) for name in names]
    print(f"{len(work.mails):,} mails, {options.seconds} seconds a load, {CORES} cores, load before {others:.1f}\n")
    print("| who | requests/s at 16 | p50, ms | p99, ms | requests/s at 64 | p99, ms | health, requests/s | start, ms "
          "| idle, MB | after, MB |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for line in lines:
        few, many = line[16], line[64]
        print(f"| {line['name']} | {few['rate']:,.0f} | {few['p50'] / 1e3:.2f} | {few['p99'] / 1e3:.2f} | {many['rate']:,.0f} "
              f"| {many['p99'] / 1e3:.2f} | {format(line['health'], ',.0f') if line['health'] else '–'} "
              f"| {line['start']:,.0f} | {line['idle']:,.0f} | {line['after']:,.0f} |")


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError) as why:
        sys.exit(f"serve_peers: {why}")
