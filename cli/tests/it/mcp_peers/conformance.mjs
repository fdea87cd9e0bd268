// Runs scenarios of the official conformance suite against a server that wants a token, or that speaks over its standard
// input and output; see `mcp_peers.rs`.
//
//   node conformance.mjs --version 2025-11-25 --scenarios ping,tools-list (--url URL --token TOKEN | --program JSON)
//
// - In: DKC_NPM, the folder whose node_modules has the suite; it knows only HTTP, and no tokens.
// - Out: one line of JSON: of each scenario how many checks it passed, and which it failed or warns of.
// - So it asks a door of this script's. To a URL the door passes everything on as it is, with the token added. Of a
//   program it starts one for each session, and one for all that is asked without a session.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const SUITE = `${process.env.DKC_NPM}/node_modules/@modelcontextprotocol/conformance/dist/index.js`;

const { values: options } = parseArgs({
  options: {
    version: { type: "string" },
    scenarios: { type: "string" },
    url: { type: "string" },
    token: { type: "string" },
    program: { type: "string" },
  },
});

/** A program that is spoken to by lines. */
class Program {
  static #all = new Set();
  #child;
  #waiting = new Map();
  #asked = 0;

  constructor({ command, args, env, cwd }) {
    this.#child = spawn(command, args, { cwd, env, stdio: ["pipe", "pipe", "inherit"] });
    Program.#all.add(this);
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const message = JSON.parse(line);
      const waiting = message.method === undefined ? this.#waiting.get(message.id) : undefined;
      this.#waiting.delete(message.id);
      waiting?.answer({ ...message, id: waiting.id });
    });
    this.#child.on("exit", () => {
      this.#waiting.forEach(({ id, answer }) =>
        answer({ jsonrpc: "2.0", id, error: { code: -32000, message: "the program ended" } }));
      this.#waiting.clear();
    });
  }

  /** The answer to a request. It gets a number of its own: without sessions several may have the same. */
  ask(message) {
    this.#asked += 1;
    const id = this.#asked;
    return new Promise((answer) => {
      this.#waiting.set(id, { id: message.id, answer });
      this.tell({ ...message, id });
    });
  }

  tell(message) {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  end() {
    this.#child.stdin.end();
    Program.#all.delete(this);
  }

  static endAll() {
    Program.#all.forEach((program) => program.end());
  }
}

/** Passes a request on, with the token. */
function passOn(asked, answer) {
  const { hostname, port, pathname } = new URL(options.url);
  const onward = request({
    hostname,
    port,
    path: pathname,
    method: asked.method,
    headers: { ...asked.headers, authorization: `Bearer ${options.token}` },
    setHost: false,
  });
  onward.on("response", (answered) => {
    answer.writeHead(answered.statusCode, answered.headers);
    answered.on("error", () => answer.destroy());
    answered.pipe(answer);
  });
  onward.on("error", () => answer.destroy());
  answer.on("close", () => onward.destroy());
  asked.pipe(onward);
}

const sessions = new Map();
let shared;

/** Asks a program. */
async function bridge(asked, answer) {
  const session = asked.headers["mcp-session-id"];
  if (asked.method === "DELETE") {
    sessions.get(session)?.end();
    sessions.delete(session);
    return answer.writeHead(200).end();
  }
  if (asked.method !== "POST") {
    return answer.writeHead(405).end();
  }
  const pieces = [];
  for await (const piece of asked) {
    pieces.push(piece);
  }
  const message = JSON.parse(Buffer.concat(pieces).toString());
  const headers = { "content-type": "application/json" };
  let program = sessions.get(session);
  if (message.method === "initialize") {
    headers["mcp-session-id"] = randomUUID();
    program = new Program(JSON.parse(options.program));
    sessions.set(headers["mcp-session-id"], program);
  }
  program ??= shared ??= new Program(JSON.parse(options.program));
  if (message.id === undefined) {
    program.tell(message);
    return answer.writeHead(202).end();
  }
  const answered = await program.ask(message);
  return answer.writeHead(200, headers).end(JSON.stringify(answered));
}

/** What a scenario found. */
async function found(url, scenario) {
  const folder = mkdtempSync(join(tmpdir(), "dkc-conformance-"));
  const suite = [SUITE, "server", "--url", url, "--scenario", scenario, "--spec-version", options.version, "-o", folder];
  const child = spawn(process.execPath, suite, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.on("data", (piece) => (said += piece));
  child.stderr.on("data", (piece) => (said += piece));
  await new Promise((ended) => child.on("close", ended));
  const [results] = readdirSync(folder);
  if (!results) {
    throw new Error(`${scenario} did not run: ${said}`);
  }
  const checks = JSON.parse(readFileSync(join(folder, results, "checks.json"), "utf8"));
  rmSync(folder, { recursive: true });
  const of = (status) => checks.filter((check) => check.status === status);
  const words = (status) => Object.fromEntries(of(status).map(({ id, errorMessage }) => [id, errorMessage ?? ""]));
  return { passed: of("SUCCESS").length, failed: words("FAILURE"), warned: words("WARNING") };
}

const door = createServer((asked, answer) => {
  if (options.program) {
    bridge(asked, answer).catch((error) => answer.writeHead(400).end(String(error)));
  } else {
    passOn(asked, answer);
  }
});
await new Promise((listening) => door.listen(0, "127.0.0.1", listening));
const all = {};
for (const scenario of options.scenarios.split(",")) {
  all[scenario] = await found(`http://127.0.0.1:${door.address().port}/mcp`, scenario);
}
console.log(JSON.stringify(all));
Program.endAll();
door.closeAllConnections();
door.close();
