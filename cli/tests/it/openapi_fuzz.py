#!/usr/bin/env python3
"""Asks a running gateway all that its OpenAPI document allows, and much that it does not; see `serve_openapi.rs`.

    openapi_fuzz.py --url http://127.0.0.1:PORT --token TOKEN [--examples N] [--seed N]

Prints one line of JSON: how many cases were run, and what failed, by check. What failed in words goes to standard
error, with the request to try again. Exit code 1 if anything failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

# What the gateway may say to a request that keeps to the document: such a request can still name what there is not
# (404), be of no sense (422), ask for events that are kept no longer (410), or for a model that is not there (503).
ACCEPTED = ["2xx", "304", "401", "403", "404", "409", "410", "422", "429", "503"]
# What it may say to one that does not.
REJECTED = ["400", "401", "403", "404", "405", "406", "413", "414", "415", "422", "429", "431"]
# `only_for_want_of_a_model` looks at 503.
NO_FAILURE = ["2xx", "3xx", "4xx", "503"]


def config(get, arguments):
    """The configuration of schemathesis: JSON is TOML's value syntax, but for objects and null."""
    datasets = get("/api/v1/datasets")["datasets"]
    names = [dataset["name"] for dataset in datasets]
    items = []
    for name in (dataset["name"] for dataset in datasets if dataset["rows"]):
        rows = get(f"/api/v1/datasets/{name}/rows?limit=1")["rows"]
        items += [row["_item"] for row in rows if "_item" in row]
    runs = [run["run"] for run in get("/api/v1/runs?limit=5")["runs"]]
    queries = [query["name"] for query in get("/api/v1/queries")["queries"]]
    formats = ["csv", "json", "ndjson", "js", "md", "parquet", "arrow", "arrows"]
    # What is there, so that not every request ends at a name that is not.
    words = {
        "path.dataset": (names, 0.8),
        "path.item": (items, 0.8),
        "path.file": ([f"{name}.{format}" for name in names for format in formats], 0.8),
        "path.run": (runs, 0.8),
        "path.query": (queries, 0.8),
        "query.columns": (["_item", "_source", "subject", "date", "title", "text", "path"], 0.7),
        "query.filter": (
            ["subject:contains:a", "date:ge:2024-01-01", "_item:notnull", "subject:null", "date:lt:x", "folders:has:a"],
            0.7,
        ),
        "query.sort": (["subject", "-date", "date", "_item", "folders", "-"], 0.7),
        "query.as_of": (["1", "0", "-1", "2024-01-01T00:00:00Z", "999999999", "2999-01-01"], 0.5),
        "query.in": (names, 0.7),
        "query.q": (["the", "from:a after:2024", '"a b"', "-", "OR", "near:1,1", "has:attachment", "in:raw"], 0.6),
        "query.dataset": (names, 0.7),
        "body.query": (
            [
                "SELECT 1 AS one",
                "SELECT :a AS a",
                "SELECT * FROM emails",
                "SELECT * FROM raw LIMIT 3",
                "SELECT NULL, 1.5, true, now(), [1, 2], {'a': 1} LIMIT 1",
                "SHOW TABLES",
                "DESCRIBE emails",
                "EXPLAIN SELECT 1",
                "SELECT 1; SELECT 2",
                "SELECT 1 AS a, 2 AS a",
                "SELECT 1/0",
            ],
            0.7,
        ),
    }
    words = {place: chosen for place, chosen in words.items() if chosen[0]}
    lines = [
        'hooks = "openapi_fuzz"',
        "continue-on-failure = true",
        "warnings = false",
        f"seed = {arguments.seed}",
        "request-timeout = 30.0",
        # A stream of events goes on for ever.
        "max-stream-events = 1",
        "[headers]",
        f"Authorization = {json.dumps('Bearer ' + arguments.token)}",
        "[generation]",
        f"max-examples = {arguments.examples}",
        'mode = "all"',
        'database = "none"',
        "[checks]",
        "enabled = true",
        f"not_a_server_error.expected-statuses = {json.dumps(NO_FAILURE)}",
        f"positive_data_acceptance.expected-statuses = {json.dumps(ACCEPTED)}",
        f"negative_data_rejection.expected-statuses = {json.dumps(REJECTED)}",
    ]
    for number, (values, _) in enumerate(words.values()):
        lines += [f"[dictionaries.words{number}]", f"values = {json.dumps(values)}"]
    lines.append("[parameters]")
    for number, (place, (_, probability)) in enumerate(words.items()):
        lines.append(f'"{place}" = {{ dictionary = "words{number}", probability = {probability} }}')
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", help="keeps schemathesis' reports (json, ndjson) in this directory")
    arguments = parser.parse_args()

    def get(path):
        request = urllib.request.Request(arguments.url + path, headers={"Authorization": f"Bearer {arguments.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    from openapi_spec_validator import OpenAPIV31SpecValidator

    document = get("/openapi.json")
    wrong = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    for message in wrong:
        print(f"the document: {message[:500]}", file=sys.stderr)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        reports = Path(arguments.report or folder).absolute()
        (folder / "openapi.json").write_text(json.dumps(document))
        settings = folder / "schemathesis.toml"
        settings.write_text(config(get, arguments))
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", settings, "--no-color"]
        command += ["run", "--url", arguments.url, "--report-json-path", reports / "report.json"]
        if arguments.report:
            command += ["--report-ndjson-path", reports / "report.ndjson"]
        ran = subprocess.run(
            [*command, folder / "openapi.json"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for line in ran.stdout.splitlines():
            # A request may be as long as the gateway allows.
            print(line if len(line) <= 1000 else f"{line[:1000]}… ({len(line)} characters)", file=sys.stderr)
        path = reports / "report.json"
        report = json.loads(path.read_text()) if path.exists() else {}
    failures = {}
    for group in report.get("failures", []):
        failures[group["type"]] = failures.get(group["type"], 0) + group["count"]
    errors = {error["title"]: error["count"] for error in report.get("errors", [])}
    operations = report.get("operations") or {}
    summary = {
        "cases": report.get("test_cases", {}).get("generated", 0),
        "operations": operations.get("tested", 0),
        "failures": failures,
        "errors": errors,
        "document": len(wrong),
        "seconds": round(report.get("running_time") or 0, 1),
    }
    print(json.dumps(summary))
    # That nothing ran is no success.
    is_good = ran.returncode == 0 and not (failures or errors or wrong) and summary["cases"] > 0
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
else:
    import schemathesis

    @schemathesis.hook
    def before_call(context, case, kwargs):
        """Waits for no event: a wait that is allowed becomes one of no time, as nobody has half a minute a request."""
        wait = (case.query or {}).get("wait")
        if str(wait).isdecimal() and 0 < int(wait) <= 30:
            case.query["wait"] = 0

    @schemathesis.check
    def only_for_want_of_a_model(context, response, case):
        """503 would hide a query's process that died; search by meaning may lack its model."""
        if response.status_code == 503:
            detail = response.json().get("detail", "")
            assert "there is no model" in detail, f"503: {detail or response.text[:300]}"
