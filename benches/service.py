#!/usr/bin/env python3
"""Measures `dkc serve` as it is left alone for years: `benches/service.py [--minutes N]`, `make bench-service`.

- In: the program (DKC, else that of `make demo`). Its pipelines are small Maildirs of their own making.
- idle: six pipelines that are not due; memory and CPU over a minute.
- writes: twenty pipelines, each due every 15 minutes, all of which were made to run once within the time; what the
  process wrote to disk (proc(5), /proc/PID/io), an hour of it reckoned from that.
- soak: six pipelines every second: 720 runs of each are thirty days of hourly runs. A mail comes every tenth second, the
  gateway is asked every second. Memory, open files, threads and the sizes of the databases, at the beginning, in the
  middle and at the end.
- Out: a table on standard output; exit code 1 when a target is missed.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

from measure import TICKS, Failed
from run import DKC

IDLE_SECONDS = 60
SOAK_MINUTES = 12
IDLE_MB, IDLE_CPU = 120, 0.5
HOUR_MB = 10
# What is kept in memory and forgotten again may be so much between two looks.
GROWTH_MB, GROWTH_FILES = 24, 10


class Service:
    """`dkc serve` over some Maildirs, each a pipeline with this schedule."""

    def __init__(self, work, pipelines, schedule):
        self.work, self.data = work, work / "data"
        self.boxes = [work / f"mail{n}" for n in range(pipelines)]
        lines = ['[serve]\nlisten = "127.0.0.1:0"\n']
        for n, box in enumerate(self.boxes):
            for part in ("cur", "new", "tmp"):
                (box / part).mkdir(parents=True)
            lines.append(f'[[pipeline]]\nname = "mail{n}"\nschedule = "{schedule}"\n'
                         f'source = {{ kind = "maildir", path = "mail{n}" }}\n')
            self.deliver(n, "first")
        self.config = work / "dkc.toml"
        self.config.write_text("\n".join(lines))

    def deliver(self, box, name):
        text = f"From: a@example.org\r\nMessage-ID: <{box}.{name}@example.org>\r\nSubject: {name}\r\n\r\n{name}\r\n"
        (self.boxes[box] / "cur" / f"{name}.host:2,").write_text(text)

    def dkc(self, *arguments):
        command = [DKC, "--config", self.config, "--data", self.data, "--json", *arguments]
        said = subprocess.run(command, capture_output=True, text=True)
        if said.returncode != 0:
            raise Failed(f"{' '.join(map(str, command))}: exit {said.returncode}\n{said.stderr}")
        return json.loads(said.stdout)

    @contextlib.contextmanager
    def running(self):
        self.dkc("run")
        command = [DKC, "--config", self.config, "--data", self.data, "--json", "serve"]
        with open(self.work / "serve.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            said = json.loads(read_object(self.process.stdout))
            self.address, self.token = said["listening"], said["token"]
            yield self
        finally:
            self.process.terminate()
            if self.process.wait(30) != 0:
                print((self.work / "serve.log").read_text(), file=sys.stderr)

    def ask(self, path):
        request = urllib.request.Request(self.address + path)
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def proc(self, name):
        return pathlib.Path(f"/proc/{self.process.pid}/{name}")

    def status(self, key):
        for line in self.proc("status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
        raise Failed(f"no {key} in /proc/PID/status")

    def cpu(self):
        fields = self.proc("stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / TICKS

    def written(self):
        for line in self.proc("io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
        raise Failed("no write_bytes in /proc/PID/io")

    def look(self):
        """Memory in MB, open files, threads, MB of the state database and of the catalog, their logs included."""
        size = lambda *names: sum((self.data / name).stat().st_size for name in names if (self.data / name).exists()) / 1e6
        return {
            "memory MB": self.status("VmRSS") / 1024,
            "files": len(list(self.proc("fd").iterdir())),
            "threads": self.status("Threads"),
            "state MB": size("state.sqlite", "state.sqlite-wal"),
            "catalog MB": size("lake/catalog.sqlite", "lake/catalog.sqlite-wal"),
            "parquet files": sum(1 for _ in self.data.rglob("*.parquet")),
        }


def read_object(lines):
    """The first JSON object of some lines."""
    text = ""
    for line in lines:
        text += line
        with contextlib.suppress(json.JSONDecodeError):
            json.loads(text)
            return text
    raise Failed(f"the service said: {text}")


def idle(work):
    with Service(work, 6, "@yearly").running() as service:
        time.sleep(10)
        before, begin = service.cpu(), time.perf_counter()
        time.sleep(IDLE_SECONDS)
        percent = 100 * (service.cpu() - before) / (time.perf_counter() - begin)
        memory = service.status("VmRSS") / 1024
    print(f"idle with six pipelines: {memory:.0f} MB resident (at most {IDLE_MB}), {percent:.2f} % of a core (at most {IDLE_CPU})")
    return memory <= IDLE_MB and percent <= IDLE_CPU


def writes(work):
    with Service(work, 20, "every 15m").running() as service:
        time.sleep(5)
        before, begin = service.written(), time.perf_counter()
        time.sleep(IDLE_SECONDS)
        resting = (service.written() - before) / (time.perf_counter() - begin)
        before = service.written()
        asked = service.dkc("run", "--queue")
        wait_for(lambda: all(run["state"] != "queued" and run["state"] != "running" for run in service.dkc("runs", "--limit", "40")["runs"]))
        time.sleep(3)
        once = service.written() - before
    hour = (resting * 3600 + 4 * once) / 1e6
    print(f"an hour with twenty pipelines: {hour:.1f} MB written (at most {HOUR_MB}): "
          f"{resting * 3600 / 1e6:.1f} at rest, {once / 1e3:.0f} kB for a run of each, four times; {len(asked['runs'])} runs")
    return hour <= HOUR_MB


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed("waited in vain")
        time.sleep(0.2)


def soak(work, minutes):
    with Service(work, 6, "every 1s").running() as service:
        looks, asked = [], 0
        for second in range(int(minutes * 60)):
            began = time.monotonic()
            if second % 10 == 0:
                service.deliver(second // 10 % 6, f"at{second}")
            service.ask("/api/v1/datasets/emails/rows?limit=10")
            asked += 1
            if second in (int(minutes * 60 * 0.25), int(minutes * 60 * 0.6), int(minutes * 60) - 2):
                looks.append(service.look())
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))
        runs = service.dkc("sql", "-c", "SELECT count(*) AS runs, count(*) FILTER (WHERE state = 'succeeded') AS good FROM runs")
    print(f"soak of {minutes:g} minutes: {runs}; {asked} requests")
    names = list(looks[0])
    for name in names:
        print(f"  {name:14} " + " → ".join(f"{look[name]:.1f}" for look in looks))
    first, last = looks[0], looks[-1]
    return (last["memory MB"] - first["memory MB"] <= GROWTH_MB and last["files"] - first["files"] <= GROWTH_FILES
            and last["threads"] - first["threads"] <= GROWTH_FILES)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=SOAK_MINUTES, help="how long the soak takes")
    parser.add_argument("--only", choices=["idle", "writes", "soak"])
    arguments = parser.parse_args()
    parts = {"idle": idle, "writes": writes, "soak": lambda work: soak(work, arguments.minutes)}
    held = True
    for name, part in parts.items():
        if arguments.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="dkc-bench-") as work:
                held &= part(pathlib.Path(work))
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
