#!/usr/bin/env python3
"""Measures search as people and programs wait for it: over HTTP, by `dkc serve`: `benches/search_service.py`.

- In: the program (DKC, else that of `make demo`), the corpus (DKC_CORPUS); a data directory (--lake), else the 60,000 mails
  of `make bench` are collected into one, with the index that `dkc run` makes.
- Asked are the subjects of mails, by words, by meaning and by both, of all mails and of those of one month; one after the
  other over one connection. The query's embedding is included; each was asked once before, as people ask again and
  again.
- Out: a table on standard output; exit code 1 when a target is missed.
"""

import argparse
import contextlib
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlencode, urlsplit

from measure import Failed
from mcp_peers import percentiles
from run import DKC
from serve_peers import make_token, megabytes, stop
from service import read_object
from sql import make_mails

QUESTIONS, LIMIT, ANSWER_SECONDS = 200, 10, 120
MODES = {"words": 5.0, "meaning": 25.0, "best": 35.0}
MONTH = " after:2002-08 before:2002-09"


def said(data, *arguments):
    command = [DKC, "--data", data, "--json", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def questions(data):
    """Words of subjects, of threads that lie apart."""
    query = "SELECT DISTINCT subject FROM emails WHERE length(subject) > 8 ORDER BY subject"
    subjects = [row["subject"] for row in said(data, "sql", "-c", query)]
    words = ("".join(letter if letter.isalnum() else " " for letter in subject.removeprefix("Re: ")) for subject in subjects)
    asked = [" ".join(text.split()) for text in words]
    asked = [text for text in asked if len(text) > 8]
    return asked[:: max(1, len(asked) // QUESTIONS)][:QUESTIONS]


@contextlib.contextmanager
def serving(data):
    """The address, a token and the process of a gateway."""
    token = make_token(DKC, data)
    with tempfile.TemporaryFile("w+") as log:
        command = [DKC, "--data", data, "--json", "serve", "--listen", "127.0.0.1:0", "--no-runs"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        try:
            yield json.loads(read_object(process.stdout))["listening"], token, process
        finally:
            stop(process)


def ask(connection, token, question, mode):
    """How many hits there are, and milliseconds."""
    path = "/api/v1/search?" + urlencode({"q": question, "mode": mode, "limit": LIMIT})
    began = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1e3
    if answer.status != 200:
        raise Failed(f"{path} is answered with {answer.status}: {body[:500]!r}")
    return len(json.loads(body)["hits"]), took


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--lake", type=pathlib.Path, help="a data directory with mails and their index")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="dkc-bench-") as temporary:
        if not options.lake:
            # Without the static model there is no meaning to ask for.
            subprocess.run([DKC, "index", "model", "--install"], check=True, stdout=subprocess.DEVNULL)
        data = options.lake or make_mails(pathlib.Path(temporary), index=True)
        asked, missed = questions(data), []
        with serving(data) as (address, token, process):
            connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=ANSWER_SECONDS)
            print(f"{len(asked)} questions, {LIMIT} rows each\n\n| search | p50, ms | p99, ms | rows | target |\n|---|--:|--:|--:|---|")
            for mode, most in MODES.items():
                for operator in ("", MONTH):
                    found = [[ask(connection, token, question + operator, mode) for question in asked] for _ in range(2)][-1]
                    middle, worst = percentiles([took for _, took in found])
                    rows = sum(hits for hits, _ in found) / len(found)
                    target = "" if operator else f"p50 < {most:g}{' **missed**' if middle >= most else ''}"
                    missed += [mode] * (not operator and middle >= most)
                    print(f"| by {mode}{', of one month' * bool(operator)} | {middle:.1f} | {worst:.1f} | {rows:.1f} | {target} |")
            print(f"\nMemory after that: {megabytes(process.pid):.0f} MB.")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
