"""Runs a command and says what it took.

- In: a command. Out: seconds, peak memory, its output, and how busy others kept the machine meanwhile.
- Memory is the kernel's maximum resident set (getrusage(2)) of the largest process among the command and its
  children. A child starts with the maximum of who started it, so this process must stay small: no mail in it.
"""

import os
import pathlib
import subprocess
import tempfile
import time
from dataclasses import dataclass

CORES = len(os.sched_getaffinity(0))
TICKS = os.sysconf("SC_CLK_TCK")

# Rounds of each measurement; the fastest counts, since all noise slows down.
ROUNDS = 3
# Share of the machine that others may use in the round that counts; beyond it, up to MORE_ROUNDS follow.
QUIET = 0.10
MORE_ROUNDS = 4


class Failed(Exception):
    """A command that did not do what was to be measured."""


@dataclass
class Taken:
    seconds: float
    cpu: float  # seconds on all cores, by the command and by its server
    peak_mb: float
    others: float  # share of all cores that was used neither by the command nor by its server
    output: str


def busy_seconds():
    """CPU seconds that all processes have used since the machine started (proc(5), /proc/stat)."""
    user, nice, system, _idle, _wait, irq, softirq, *_ = open("/proc/stat").readline().split()[1:]
    return sum(map(int, (user, nice, system, irq, softirq))) / TICKS


def session_seconds(session):
    """CPU seconds of all processes of a session and of their children that have ended."""
    ticks = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def once(command, env=None, server=None):
    """Runs it once. `server` is the session of a server whose CPU belongs to the measurement."""
    ours = (lambda: session_seconds(server)) if server else (lambda: 0.0)
    os.sync()  # what earlier commands left to write is not this one's work
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        busy, helped, begin = busy_seconds(), ours(), time.perf_counter()
        child = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        used = usage.ru_utime + usage.ru_stime + ours() - helped
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode != 0:
            words, said = " ".join(map(str, command)), err.read().decode(errors="replace")
            raise Failed(f"{words}: exit {child.returncode}\n{said}")
        others = max(0.0, busy_seconds() - busy - used) / seconds / CORES
        return Taken(seconds, used, usage.ru_maxrss / 1024, others, out.read().decode(errors="replace"))


def warm(directory):
    """Has the kernel keep all files of a directory in memory; some kernels drop what was not read lately."""
    command = ["find", directory, "-type", "f", "-exec", "cat", "{}", "+"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def best(command, before=lambda: None, check=lambda output: None, rounds=ROUNDS, reads=None, **settings):
    """The fastest of some rounds, with the highest memory of all. `before` prepares each of them, `reads` is a
    directory it reads, and `check` raises `Failed` when the output is not that of the work to be measured."""
    taken = []
    while True:
        before()
        if reads:
            warm(reads)
        taken.append(once(command, **settings))
        check(taken[-1].output)
        fastest = min(taken, key=lambda one: one.seconds)
        noisy = rounds > 1 and fastest.others > QUIET and len(taken) < rounds + MORE_ROUNDS
        if len(taken) >= rounds and not noisy:
            fastest.peak_mb = max(one.peak_mb for one in taken)
            return fastest
