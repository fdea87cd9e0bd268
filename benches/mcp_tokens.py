#!/usr/bin/env python3
"""Counts what the tools of `dkc mcp` cost an agent, in tokens of o200k: `benches/mcp_tokens.py`.

- In: the program (DKC, else that of `make demo`), a data directory (--lake, else an empty one), the node packages of
  `scripts/package.json` (DKC_NPM, else those in the cache).
- Out: a table on standard output: what a client is sent, and each tool of it; what `dkc mcp cost` estimates beside it.
- Counted is the JSON as it is sent, without blanks. What a client makes of it for its model differs a little.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from measure import Failed
from run import DKC

CACHE = pathlib.Path(os.environ.get("DKC_CACHE") or pathlib.Path.home() / ".cache/dkc")
LISTS = ("tools/list", "resources/list", "resources/templates/list", "prompts/list")

# A list of texts on standard input; their counts on standard output.
COUNT = """
const { createRequire } = require("node:module");
const { encode } = createRequire(process.argv[1] + "/package.json")("gpt-tokenizer/encoding/o200k_base");
const texts = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map((text) => encode(text).length)));
"""


def counts(npm, texts):
    command = [npm / "node_modules/.bin/node", "-e", COUNT, npm]
    counted = subprocess.run(command, input=json.dumps(texts), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(counted.stdout)


def catalogue(dkc, lake, more):
    """What each list answers, and the instructions."""
    agent = subprocess.Popen([dkc, "--data", lake, "mcp", *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(number, method, params):
        agent.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n")
        agent.stdin.flush()
        for line in agent.stdout:
            message = json.loads(line)
            if message.get("id") == number:
                if "result" not in message:
                    raise Failed(f"{method}: {message}")
                return message["result"]
        raise Failed(f"dkc mcp ended before it answered {method}")

    try:
        begun = ask(0, "initialize", {"protocolVersion": "2025-11-25", "capabilities": {},
                                      "clientInfo": {"name": "bench", "version": "1"}})
        agent.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        return begun.get("instructions", ""), {name: ask(n, name, {}) for n, name in enumerate(LISTS, 1)}
    finally:
        agent.stdin.close()
        agent.wait(30)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--lake", type=pathlib.Path, help="a data directory of dkc")
    arguments.add_argument("--dkc", type=pathlib.Path, default=DKC, help="the program")
    arguments.add_argument("--npm", type=pathlib.Path, default=os.environ.get("DKC_NPM") or CACHE / "npm",
                           help="the folder of the node packages")
    arguments.add_argument("--toolsets", help="what `dkc mcp --toolsets` is given; its default if absent")
    options = arguments.parse_args()
    more = ["--toolsets", options.toolsets] if options.toolsets else []
    with tempfile.TemporaryDirectory(prefix="dkc-bench-") as temporary:
        lake = (options.lake or pathlib.Path(temporary) / "data").resolve()
        instructions, lists = catalogue(options.dkc, lake, more)
        cost = subprocess.run([options.dkc, "--data", lake, "mcp", "cost", "--json", *more],
                              stdout=subprocess.PIPE, text=True, check=True)
    estimate = json.loads(cost.stdout)

    def text(value):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    tools = lists["tools/list"]["tools"]
    parts = {f"`{tool['name']}`": text(tool) for tool in tools}
    parts |= {"all tools": text(tools), "instructions": instructions}
    parts |= {f"`{name}`": text(lists[name]) for name in LISTS[1:]}
    counted = dict(zip(parts, counts(options.npm, list(parts.values()))))
    print("| what | tokens (o200k) | bytes |\n|---|--:|--:|")
    for name, number in counted.items():
        print(f"| {name} | {number:,} | {len(parts[name].encode()):,} |")
    print(f"\n{len(tools)} tools; `dkc mcp cost` estimates {estimate.get('tokens', '?')} tokens.")


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, subprocess.SubprocessError) as why:
        sys.exit(f"mcp_tokens: {why}")
