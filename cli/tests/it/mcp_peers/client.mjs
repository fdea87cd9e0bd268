// Does what an agent does, by the official TypeScript client; see `mcp_peers.rs`. `client.py` does the same.
//
//   node client.mjs --mode legacy|auto|2026-07-28 (--url URL --token TOKEN | --program JSON) [--watch]
//
// - In: as `client.py`; DKC_NPM, the folder whose node_modules has the client.
// - Out: one line of JSON, as that of `client.py`.
// - The client itself holds each structured answer against the schema that its tool declares.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const require = createRequire(`${process.env.DKC_NPM}/package.json`);
const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");

const PATIENCE_MS = 60_000;

const { values: options } = parseArgs({
  options: {
    mode: { type: "string" },
    url: { type: "string" },
    token: { type: "string" },
    program: { type: "string" },
    watch: { type: "boolean" },
  },
});

/** All pages of a list. */
async function everything(ask, key) {
  const found = [];
  let cursor;
  do {
    const page = await ask(cursor ? { cursor } : {});
    found.push(...page[key]);
    cursor = page.nextCursor;
  } while (cursor);
  return found;
}

/** Until the resource changed. */
async function watch(client, uri) {
  const isModern = client.getProtocolEra() === "modern";
  let timer;
  const changed = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`nobody told of a change of ${uri}`)), PATIENCE_MS);
    client.setNotificationHandler("notifications/resources/updated", () => resolve());
  });
  const subscription = isModern ? await client.listen({ resourceSubscriptions: [uri] }) : undefined;
  if (!isModern) {
    await client.subscribeResource({ uri });
  }
  console.log(JSON.stringify({ watching: uri }));
  await changed;
  clearTimeout(timer);
  await (isModern ? subscription.close() : client.unsubscribeResource({ uri }));
}

async function asked(client) {
  const tools = await everything((page) => client.listTools(page), "tools");
  const resources = await everything((page) => client.listResources(page), "resources");
  const templates = await everything((page) => client.listResourceTemplates(page), "resourceTemplates");
  const prompts = await everything((page) => client.listPrompts(page), "prompts");
  const mail = resources.find(({ uri }) => uri.includes("email")) ?? resources[0];
  if (options.watch) {
    await watch(client, mail.uri);
  }
  const read = await client.readResource({ uri: mail.uri });
  const references = [
    ...prompts.flatMap(({ name, arguments: them = [] }) =>
      them.map((argument) => [{ type: "ref/prompt", name }, name, argument.name])),
    ...templates.flatMap(({ uriTemplate: uri }) =>
      [...uri.matchAll(/\{[?&/#.;+]?(\w+)/g)].map((found) => [{ type: "ref/resource", uri }, uri, found[1]])),
  ];
  const completed = {};
  for (const [ref, of, name] of references) {
    const { completion } = await client.complete({ ref, argument: { name, value: "" } });
    completed[`${of} ${name}`] = completion.values.length;
  }
  const given = Object.fromEntries((prompts[0].arguments ?? []).map(({ name }) => [name, "boat"]));
  const prompted = await client.getPrompt({ name: prompts[0].name, arguments: given });
  return {
    version: client.getNegotiatedProtocolVersion(),
    tools: tools.map(({ name }) => name),
    resources: resources.map(({ uri }) => uri),
    templates: templates.map(({ uriTemplate }) => uriTemplate),
    prompts: prompts.map(({ name }) => name),
    read: read.contents,
    completed,
    prompt: prompted.messages,
    datasets: await client.callTool({ name: "list_datasets", arguments: {} }),
    found: await client.callTool({ name: "search", arguments: { q: "sesame7", limit: 3 } }),
  };
}

const transport = options.program
  ? new StdioClientTransport(JSON.parse(options.program))
  : new StreamableHTTPClientTransport(new URL(options.url), {
      requestInit: { headers: { Authorization: `Bearer ${options.token}` } },
    });
const mode = ["legacy", "auto"].includes(options.mode) ? options.mode : { pin: options.mode };
const client = new Client({ name: "dkc-test", version: "1.0.0" }, { versionNegotiation: { mode } });
await client.connect(transport);
console.log(JSON.stringify(await asked(client)));
await client.close();
