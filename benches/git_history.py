#!/usr/bin/env python3
"""Measures how fast git history is read, beside git itself and GitPython: `benches/git_history.py [REPOSITORY …]`.

- In: the program (DKC, else that of `make demo`), a Python with the peer (DKC_PYTHON), git; your own repositories, if
  you name some.
- Out: a table on standard output; exit code 1 when a target is missed.
- Repositories: two generated ones, packed as a server packs them. `heavy` has large commits, moves and renames, `plain`
  small edits. Git lists them in two processes, each half of the commits. The index for search, which git makes none of, is
  left out. The fastest of three rounds, in the page cache.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from measure import ROUNDS, Failed, best, warm
from run import PYTHON, Dkc

HERE = pathlib.Path(__file__).resolve().parent
GENERATOR = HERE.parent / "fixtures" / "oracle" / "make_repository.py"
LISTING = ["log", "--numstat", "-M", "--no-walk=unsorted", "--stdin", "--format=%H"]
ENVIRONMENT = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
# GitPython starts a git for each commit; so many tell its pace.
SAMPLE = 100
LONG = 40_000
NEW = 10


def git(repository, *arguments, **settings):
    return subprocess.run(["git", "-C", repository, *arguments], check=True, env=ENVIRONMENT,
                          stdout=subprocess.PIPE, **settings).stdout


def import_stream(repository, stream):
    """A bare repository of what a generator writes for `git fast-import`, packed as after a clone."""
    subprocess.run(["git", "init", "--quiet", "--bare", repository], check=True, env=ENVIRONMENT)
    git(repository, "fast-import", "--quiet", "--done", stdin=stream)
    git(repository, "repack", "-adfq", "--window=10", "--depth=50")


def generate(repository, commits, *kind):
    command = [PYTHON, GENERATOR, "7", str(commits), *kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as generator:
        import_stream(repository, generator.stdout)


def long_history(first, last, parent):
    """Commits numbered from `first` to before `last`, each with a line in one of 200 files."""
    for number in range(first, last):
        text = f"{number}\n" * (number % 7 + 1)
        yield (f"commit refs/heads/main\ncommitter Ada <ada@example.org> {1_500_000_000 + number} +0000\n"
               f"data {len(str(number))}\n{number}\n")
        if number == first and parent:
            yield f"from {parent}\n"
        yield f"M 100644 inline folder-{number % 20}/{number % 200}.txt\ndata {len(text)}\n{text}\n"
    yield "done\n"


def written(folder, lines):
    path = folder / "stream"
    path.write_text("".join(lines))
    return path.open("rb")


def git_in_two(repository):
    """Seconds that two processes of git need together, each for half of the commits."""
    commits = git(repository, "rev-list", "--all").split(b"\n")[:-1]
    middle = len(commits) // 2
    halves = [b"\n".join(half) for half in (commits[:middle], commits[middle:])]
    fastest = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        running = [subprocess.Popen(["git", "-C", repository, *LISTING], stdin=subprocess.PIPE, env=ENVIRONMENT,
                                    stdout=subprocess.DEVNULL) for _ in halves]
        for process, half in zip(running, halves):
            process.stdin.write(half)
            process.stdin.close()
        if any(process.wait() for process in running):
            raise Failed(f"git log in {repository}")
        fastest = min(fastest, time.perf_counter() - began)
    return len(commits), fastest


def gitpython(repository):
    """Prints the commits a second whose `stats` GitPython gives; in DKC_PYTHON."""
    import git as library

    commits = list(library.Repo(repository).iter_commits("--all", max_count=SAMPLE))
    began = time.perf_counter()
    files = sum(len(commit.stats.files) for commit in commits)
    if not files:
        sys.exit("no file was changed")
    print(len(commits) / (time.perf_counter() - began))


def stored(commits):
    """A check that a run stored that many commits."""
    def check(output):
        run = json.loads(output)["runs"][0]
        # The repository is an item too.
        if run["state"] != "succeeded" or run["items_stored"] != commits + 1:
            raise Failed(f"expected {commits} commits and a repository: {output}")
    return check


def whole(work, repository):
    """A first run, git and GitPython over one repository: a line of the table, and whether the targets were met."""
    warm(repository)
    commits, seconds = git_in_two(repository)
    peer = float(subprocess.run([PYTHON, __file__, "--gitpython", repository], check=True, stdout=subprocess.PIPE,
                                text=True).stdout)
    of = Dkc(work, "history", f'kind = "git", paths = ["{repository}"]')
    taken = best([*of.command, "--no-index"], of.afresh, stored(commits), reads=repository)
    rate, beside = commits / taken.seconds, commits / seconds
    is_met = rate >= 1.5 * beside and rate >= 40 * peer
    print(f"| {repository.name}, {commits:,} commits | {rate:,.0f} | {beside:,.0f} | {rate / beside:.2f} × | {peer:,.0f} | "
          f"{rate / peer:.0f} × | {taken.peak_mb:.0f} | {'' if is_met else '**missed**'} |", flush=True)
    return is_met


def ten_new(work):
    """Milliseconds of a run that finds ten new commits in a long history."""
    repository = work / "long.git"
    import_stream(repository, written(work, long_history(0, LONG, None)))
    of = Dkc(work, "long", f'kind = "git", paths = ["{repository}"]')
    subprocess.run([*of.command, "--no-index"], check=True, stdout=subprocess.DEVNULL)
    reached = LONG

    def more():
        nonlocal reached
        lines = long_history(reached, reached + NEW, "refs/heads/main^0")
        git(repository, "fast-import", "--quiet", "--done", stdin=written(work, lines))
        reached += NEW

    return best([*of.command, "--no-index"], more, stored(NEW), reads=repository).seconds * 1_000


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("repositories", nargs="*", type=pathlib.Path, help="repositories of yours")
    arguments.add_argument("--gitpython", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.gitpython:
        return gitpython(options.gitpython)
    with tempfile.TemporaryDirectory(prefix="dkc-bench-") as temporary:
        work = pathlib.Path(temporary)
        repositories = [path.resolve() for path in options.repositories]
        if not repositories:
            repositories = [work / "heavy.git", work / "plain.git"]
            generate(repositories[0], 3_000)
            generate(repositories[1], 12_000, "plain")
        print("commits/s; targets: 1.5 × git, 40 × GitPython\n")
        print("| repository | dkc | git, two processes | | GitPython | | dkc, peak MB | |\n|---|--:|--:|--:|--:|--:|--:|---|")
        are_met = [whole(work, repository) for repository in repositories]
        taken = ten_new(work)
        print(f"\n{NEW} new commits after {LONG:,}: {taken:.0f} ms; target: < 200")
        return not all(are_met) or taken >= 200


if __name__ == "__main__":
    sys.exit(main())
