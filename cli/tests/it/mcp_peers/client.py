#!/usr/bin/env python3
"""Does what an agent does, by the official Python client; see `mcp_peers.rs`. `client.mjs` does the same.

    client.py --mode legacy|auto|2026-07-28 (--url http://127.0.0.1:PORT/mcp --token TOKEN | --program JSON) [--watch]

- In: a server that listens, or a program to start: {"command", "args", "env", "cwd"}.
- Out: one line of JSON: the version that was agreed on, the names of what is there, what was answered.
- With --watch it first subscribes to a resource, prints {"watching": URI}, and goes on once it hears of a change.
"""

import argparse
import asyncio
import json
import re
import warnings

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import PromptReference, ResourceTemplateReference, ResourceUpdatedNotification

PATIENCE_SECONDS = 60


async def everything(ask, key):
    """All pages of a list."""
    found, cursor = [], None
    while True:
        page = await ask(cursor=cursor)
        found += getattr(page, key)
        cursor = page.next_cursor
        if not cursor:
            return found


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def watch(client, uri, updated):
    """Until the resource changed."""
    if client.protocol_version >= "2026-07-28":
        async with client.listen(resource_subscriptions=[uri]) as changes:
            print(json.dumps({"watching": uri}), flush=True)
            async for _ in changes:
                return
        raise SystemExit("the server ended the subscription")
    await client.subscribe_resource(uri)
    print(json.dumps({"watching": uri}), flush=True)
    await updated.wait()
    await client.unsubscribe_resource(uri)


async def asked(client, updated, watches):
    tools = await everything(client.list_tools, "tools")
    resources = await everything(client.list_resources, "resources")
    templates = await everything(client.list_resource_templates, "resource_templates")
    prompts = await everything(client.list_prompts, "prompts")
    mail = next((r for r in resources if "email" in str(r.uri)), resources[0])
    if watches:
        await asyncio.wait_for(watch(client, str(mail.uri), updated), PATIENCE_SECONDS)
    read = await client.read_resource(str(mail.uri))
    references = [(PromptReference(type="ref/prompt", name=p.name), p.name, a.name)
                  for p in prompts for a in p.arguments or []]
    references += [(ResourceTemplateReference(type="ref/resource", uri=t.uri_template), t.uri_template, name)
                   for t in templates for name in re.findall(r"\{[?&/#.;+]?(\w+)", t.uri_template)]
    completed = {}
    for reference, of, argument in references:
        answer = await client.complete(reference, {"name": argument, "value": ""})
        completed[f"{of} {argument}"] = len(answer.completion.values)
    prompted = await client.get_prompt(prompts[0].name, {a.name: "boat" for a in prompts[0].arguments or []})
    datasets = await client.call_tool("list_datasets", {})
    found = await client.call_tool("search", {"q": "sesame7", "limit": 3})
    return {
        "version": client.protocol_version,
        "tools": [tool.name for tool in tools],
        "resources": [str(resource.uri) for resource in resources],
        "templates": [template.uri_template for template in templates],
        "prompts": [prompt.name for prompt in prompts],
        "read": [plain(content) for content in read.contents],
        "completed": completed,
        "prompt": [plain(message) for message in prompted.messages],
        "datasets": plain(datasets),
        "found": plain(found),
    }


async def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--mode", required=True)
    arguments.add_argument("--url")
    arguments.add_argument("--token")
    arguments.add_argument("--program", type=json.loads)
    arguments.add_argument("--watch", action="store_true")
    options = arguments.parse_args()
    if options.program:
        server = StdioServerParameters(**options.program)
    else:
        http = create_mcp_http_client(headers={"Authorization": f"Bearer {options.token}"})
        server = streamable_http_client(options.url, http_client=http)
    updated = asyncio.Event()

    async def heard(message):
        if isinstance(message, ResourceUpdatedNotification):
            updated.set()

    client = Client(server, mode=options.mode, message_handler=heard, read_timeout_seconds=PATIENCE_SECONDS)
    async with client:
        print(json.dumps(await asked(client, updated, options.watch)))


if __name__ == "__main__":
    # Subscribing as the older versions have it is what is tried.
    warnings.simplefilter("ignore")
    asyncio.run(main())
