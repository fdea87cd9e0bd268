#!/usr/bin/env python3
"""Measures how fast questions are answered, beside DuckDB over the same files: `make bench-sql`.

- In: the program (DKC, else that of `make demo`), the corpus (DKC_CORPUS), a Python with DuckDB (DKC_PYTHON).
- Out: a table on standard output; exit code 1 when a target is missed or an answer is not DuckDB's.
- Two lakes: `git_commits` of ten million rows (`benches/history.rs`), and the 60,000 mails that `make bench`
  collects too, with their bodies. DuckDB reads the live Parquet files of the table, which have no deletions.
- Both have two threads and are asked in turns, query by query, four times each; the fastest counts. DuckDB has all
  memory it wants, dkc what it gives a query by default.
"""

import argparse
import datetime
import decimal
import json
import os
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

from measure import ROUNDS, Failed, best
from run import CORPUS, DKC, PYTHON, TARGET, Dkc

HERE = pathlib.Path(__file__).resolve().parent
COPIES = 10
STARTS = 20
THREADS = 2

# As ClickBench asks of its table of page views, with what orders equal rows added.
COMMITS = {
    "count": "SELECT count(*) AS n FROM git_commits",
    "count, filter": "SELECT count(*) AS n FROM git_commits WHERE author_offset_min <> 0",
    "sums": "SELECT sum(insertions) AS i, count(*) AS n, avg(deletions) AS d FROM git_commits",
    "distinct": "SELECT count(DISTINCT author_email) AS n FROM git_commits",
    "first and last": "SELECT min(author_time) AS first, max(author_time) AS last FROM git_commits",
    "few groups": "SELECT author_offset_min, count(*) AS n FROM git_commits WHERE author_offset_min <> 0 "
                  "GROUP BY author_offset_min ORDER BY n DESC, author_offset_min",
    "distinct by group": "SELECT repository, sum(insertions) AS i, count(*) AS n, avg(files_changed) AS f, "
                         "count(DISTINCT author_email) AS people FROM git_commits GROUP BY repository "
                         "ORDER BY n DESC, repository LIMIT 10",
    "many groups": "SELECT author_email, count(*) AS n FROM git_commits GROUP BY author_email "
                   "ORDER BY n DESC, author_email LIMIT 10",
    "groups of two": "SELECT author_email, date_part('hour', author_time) AS hour, repository, count(*) AS n "
                     "FROM git_commits GROUP BY author_email, hour, repository "
                     "ORDER BY n DESC, author_email, hour, repository LIMIT 10",
    "texts as groups": "SELECT subject, count(*) AS n FROM git_commits WHERE subject <> '' GROUP BY subject "
                       "ORDER BY n DESC, subject LIMIT 10",
    "LIKE": "SELECT count(*) AS n FROM git_commits WHERE subject LIKE '%linux%'",
    "LIKE, groups": "SELECT author_name, min(subject) AS s, count(*) AS n, count(DISTINCT repository) AS r FROM git_commits "
                    "WHERE subject LIKE '%mail%' AND body <> '' GROUP BY author_name "
                    "ORDER BY n DESC, author_name LIMIT 10",
    "LIKE, all columns": "SELECT * FROM git_commits WHERE subject LIKE '%linux%' "
                         "ORDER BY author_time, \"commit\" LIMIT 10",
    "regular expression": "SELECT regexp_replace(author_email, '^[^@]*@([^.]*).*$', '\\1') AS domain, "
                          "avg(length(subject)) AS l, count(*) AS n, min(author_email) AS e FROM git_commits "
                          "WHERE author_email <> '' GROUP BY domain HAVING count(*) > 10000 "
                          "ORDER BY l DESC, domain LIMIT 25",
    "months": "SELECT date_trunc('month', author_time) AS month, count(*) AS n FROM git_commits "
              "WHERE author_time >= TIMESTAMP '2013-07-01' AND author_time < TIMESTAMP '2015-07-01' "
              "AND files_changed > 0 GROUP BY month ORDER BY month",
}
MAILS = {
    "mails, senders": "SELECT from_addr, count(*) AS n, sum(size_bytes) AS s FROM emails GROUP BY from_addr "
                      "ORDER BY n DESC, from_addr LIMIT 10",
    "mails, LIKE in bodies": "SELECT count(*) AS n, count(DISTINCT thread_id) AS t FROM emails "
                             "WHERE body_text LIKE '%linux%'",
    "mails, bodies by month": "SELECT date_trunc('month', date) AS month, avg(length(body_text)) AS l, count(*) AS n "
                              "FROM emails GROUP BY month HAVING count(*) > 50 ORDER BY month",
    "mails, newest": "SELECT date, from_addr, subject FROM emails WHERE body_text LIKE '%kernel%' "
                     "ORDER BY date DESC NULLS LAST, _item LIMIT 10",
}

# Times of DuckDB's: what a target is held against.
MEAN, MOST, GUARD_MS, START_MS = 1.3, 3.0, 5.0, 60.0


def make_commits(data, rows):
    """A lake of so many commits."""
    command, env = bench("history", DKC_BENCH_LAKE=data, DKC_BENCH_ROWS=rows)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)


def make_mails(work, index=False):
    """A lake of the mails of `make bench`, collected by `dkc run`, then compacted; with the index of search or without."""
    subprocess.run([sys.executable, HERE / "mailboxes.py", CORPUS, work / "box", str(COPIES)], check=True,
                   stdout=subprocess.DEVNULL)
    dkc = Dkc(work, "mails", f'kind = "maildir", path = "{work}/box/maildir"')
    run = dkc.command if index else [*dkc.command, "--no-index"]
    for command in (run, [DKC, "--data", dkc.data, "compact"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return dkc.data


def bench(name, **settings):
    """How a bench is started, with what it reads of the environment."""
    command = ["cargo", "bench", "--quiet", "--workspace", "--profile", "dev", "--bench", name]
    env = {"CARGO_TARGET_DIR": TARGET, "DKC_CORPUS": CORPUS, **settings}
    return command, os.environ | {name: str(value) for name, value in env.items()}


def files_of(data, table):
    """The live Parquet files of a table, as its catalog has them."""
    with sqlite3.connect(data / "lake" / "catalog.sqlite") as catalog:
        live = "SELECT ducklake_data_file.path FROM ducklake_data_file JOIN ducklake_table USING (table_id) " \
               "WHERE table_name = ? AND ducklake_data_file.end_snapshot IS NULL AND ducklake_table.end_snapshot IS NULL"
        deletes = "SELECT count(*) FROM ducklake_delete_file WHERE end_snapshot IS NULL"
        if catalog.execute(deletes).fetchone() != (0,):
            raise Failed(f"{data} has deletions, which DuckDB would not see")
        return [str(data / "lake" / "files" / "main" / table / path) for (path,) in catalog.execute(live, [table])]


def asked(data, table, queries):
    """Of each query: its name, milliseconds of dkc through the guard and without, those of DuckDB. Fails where the answers
    differ."""
    import duckdb

    there = duckdb.connect(config={"threads": THREADS})
    there.execute(f"CREATE VIEW {table} AS FROM read_parquet({files_of(data, table)})")
    command, env = bench("sql", DKC_BENCH_LAKE=data, DKC=DKC)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as dkc:
        for what, query in queries.items():
            rounds = []
            for _ in range(ROUNDS + 1):
                print(query, file=dkc.stdin, flush=True)
                ours = [float(figure) for figure in dkc.stdout.readline().split()]
                began = time.perf_counter()
                theirs = there.execute(query).to_arrow_table()
                rounds.append([*ours, (time.perf_counter() - began) * 1e3])
            words = [DKC, "--data", data, "sql", "--format", "json", "-c", query]
            answer = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
            same(*([tuple(row.values()) for row in rows] for rows in (answer, theirs.to_pylist())))
            yield what, *(min(column) for column in zip(*rounds, strict=True))


def shown(value):
    """A value as JSON and DuckDB both have it."""
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, decimal.Decimal):
        return int(value)  # a sum of integers
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value if not isinstance(value, list) else [shown(one) for one in value]


def same(one, other):
    one, other = ([[shown(value) for value in row] for row in rows] for rows in (one, other))
    if one != other:
        raise Failed(f"dkc says\n  {one}\nand DuckDB\n  {other}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--rows", type=int, default=10_000_000, help="of git_commits")
    arguments.add_argument("--keep", type=pathlib.Path, help="make the lakes there, or take those that are there")
    arguments.add_argument("--duckdb", nargs=2, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="dkc-bench-") as temporary:
        work = options.keep or pathlib.Path(temporary)
        commits, mails = work / "commits-data", work / "mails-data"
        if not commits.exists():
            make_commits(commits, options.rows)
        if not mails.exists():
            make_mails(work)
        lines = []
        for data, table, queries in ((commits, "git_commits", COMMITS), (mails, "emails", MAILS)):
            for line in asked(data, table, queries):
                lines.append(line)
                print("  {}: {:.1f} ms, {:.1f} without the guard, DuckDB {:.1f}".format(*line), file=sys.stderr, flush=True)
        command = [DKC, "--data", commits, "sql", "-c", "select 1"]
        starts = sorted(best(command, rounds=1).seconds * 1e3 for _ in range(STARTS))
    return report(lines, starts, options.rows)


def report(lines, starts, rows):
    """Prints the figures; whether a target is missed."""
    missed = []

    def judged(what, figure, most, unit=""):
        if figure > most:
            missed.append(what)
        return f"{what}: {figure:.2f}{unit}, target ≤ {most:g}{unit}{' **missed**' if figure > most else ''}"

    print(f"{rows:,} commits, 60,460 mails, {os.cpu_count()} cores\n")
    print("| query | dkc, ms | DuckDB, ms | ratio | without the guard, ms |\n|---|--:|--:|--:|--:|")
    for what, guarded, alone, duckdb in lines:
        ratio = guarded / duckdb
        print(f"| {what} | {guarded:,.1f} | {duckdb:,.1f} | {ratio:.2f}{' **missed**' if ratio > MOST else ''} "
              f"| {alone:,.1f} |")
    ratios = [guarded / duckdb for _, guarded, _, duckdb in lines]
    print()
    print("- " + judged("geometric mean of the ratios", statistics.geometric_mean(ratios), MEAN))
    print("- " + judged("highest ratio", max(ratios), MOST))
    print("- " + judged("the guard adds, median", statistics.median(line[1] - line[2] for line in lines), GUARD_MS, " ms"))
    print("- " + judged("`dkc sql -c 'select 1'`, fastest", starts[0], START_MS, " ms"))
    print(f"- `dkc sql -c 'select 1'`, median of {STARTS}: {statistics.median(starts):.1f} ms")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
