#!/usr/bin/env python3
"""Counts what one cargo command compiles that the tests would not share.

    scripts/shared_units.py build --workspace --bin dkc --test tidy

Compares cargo's unit graph of the command with that of `cargo test --workspace`, in crates of others; nothing is
built. The unit graph is an unstable option of cargo, so RUSTC_BOOTSTRAP is set for the question alone.
"""

import json
import os
import subprocess
import sys


def units(command):
    """Every unit of others as (package, target, features, profile, units it stands on); ours are left out."""
    asked = ["cargo", *command, "--unit-graph", "-Z", "unstable-options"]
    answer = subprocess.run(asked, env={**os.environ, "RUSTC_BOOTSTRAP": "1"}, stdout=subprocess.PIPE, check=True)
    graph, known = json.loads(answer.stdout)["units"], {}

    def identity(index):
        if index not in known:
            unit = graph[index]
            profile = {key: value for key, value in unit["profile"].items() if key != "name"}
            below = sorted(identity(dependency["index"]) for dependency in unit["dependencies"])
            known[index] = hash(json.dumps([
                unit["pkg_id"], unit["target"]["name"], unit["target"]["kind"], unit["mode"], unit["platform"],
                unit["features"], profile, below], sort_keys=True))
        return known[index]

    return {identity(index) for index, unit in enumerate(graph) if not unit["pkg_id"].startswith("path+")}


def main(command):
    asked, tests = units(command), units(["test", "--workspace"])
    print(f"cargo {' '.join(command)}: {len(asked)} units of others, {len(asked - tests)} not shared with the tests")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
