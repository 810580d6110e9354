// The published server of the Model Context Protocol, which calls by the published client for Go.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const { KEYFOB_ENDPOINT, KEYFOB_TOKEN } = process.env;
const server = spawn(
  process.execPath,
  [
    "node_modules/@digitalocean/mcp/index.js",
    ...["-services", "functions", "-digitalocean-api-endpoint", KEYFOB_ENDPOINT],
  ],
  {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, DIGITALOCEAN_API_TOKEN: KEYFOB_TOKEN },
  },
);
const waiting = new Map();
createInterface({ input: server.stdout }).on("line", (line) => {
  const message = JSON.parse(line);
  waiting.get(message.id)?.(message);
});
let id = 0;
function ask(method, params) {
  id += 1;
  server.stdin.write(JSON.stringify({ jsonrpc: "2.0", id, method, params }) + "\n");
  return new Promise((resolve) => waiting.set(id, resolve));
}
async function call(name, args) {
  const { result } = await ask("tools/call", { name: `functions-${name}`, arguments: args });
  return { failed: result.isError === true, text: result.content[0].text };
}
async function done(name, args) {
  const { failed, text } = await call(name, args);
  assert(!failed, `${name}: ${text}`);
  return text;
}

await ask("initialize", {
  protocolVersion: "2025-03-26",
  capabilities: {},
  clientInfo: { name: "keyfob", version: "1" },
});
// A wrapped body, with `Region` in capitals.
const space = JSON.parse(await done("create-namespace", { Label: "mcp", Region: "nyc1" }));
const NamespaceID = space.namespace;
assert.deepEqual([space.label, space.region], ["mcp", "nyc1"]);
assert((await done("list-namespaces", {})).includes(NamespaceID));
assert.equal(JSON.parse(await done("get-namespace", { NamespaceID })).label, "mcp");
const made = JSON.parse(
  await done("create-access-key", { NamespaceID, Name: "laptop", ExpiresIn: "24h" }),
);
assert(made.secret && made.expires_at);
assert((await done("list-access-keys", { NamespaceID })).includes(made.id));
// The refusal reaches its user.
const refused = await call("create-access-key", { NamespaceID, Name: "x", ExpiresIn: "+1h" });
assert(refused.failed && refused.text.includes("must start with an integer"), refused.text);
await done("delete-access-key", { NamespaceID, KeyID: made.id });
assert(!(await done("list-access-keys", { NamespaceID })).includes(made.id));
await done("delete-namespace", { NamespaceID });
assert((await call("get-namespace", { NamespaceID })).failed);
server.kill();
