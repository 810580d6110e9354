// A gateway that the server feeds: up to date, and then silent.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../stage.mjs";

export default async (stage) => {
  stage.namespace("acme", "orders");
  const credential = stage.key("operators", "control:operators", "service:gateway", "gateway", "--scope", "replica");
  // The server may not know the credential yet.
  const end = Date.now() + 30_000;
  const known = () => fetch(`${stage.url}/v1/caller`, { headers: { authorization: `Bearer ${credential}` } });
  while ((await known()).status === 401) {
    assert(Date.now() < end, "the credential does not work");
    await new Promise((done) => setTimeout(done, 50));
  }
  const folder = mkdtempSync(join(stage.folder, "gateway-"));
  const file = join(folder, "gateway.key");
  writeFileSync(file, credential);
  const page = await stage.page();
  await stage.signIn(page, stage.operator);
  await stage.go(page, "/fleet");
  await page.getByText("No gateway is connected").waitFor();
  const gateway = spawn(stage.program, ["gateway", "--upstream", stage.feed, "--signers", stage.signer,
    "--credential-file", file, "--stale-after", "10s", "--listen", "127.0.0.1:0"], {
    cwd: folder, env: { PATH: process.env.PATH, HOME: folder, NO_PROXY: "127.0.0.1", KEYFOB_AUTH_LISTEN: "127.0.0.1:0" }, stdio: ["ignore", "ignore", "inherit"],
  });
  try {
    const shown = page.getByRole("row", { name: /Up to date/ });
    while (await shown.count() === 0) {
      assert(Date.now() < end, "the gateway does not report");
      await new Promise((done) => setTimeout(done, 200));
      await stage.go(page, "/fleet");
    }
    // The age of its index, within its bound, and what it reads.
    const cells = await shown.getByRole("cell").allTextContents();
    assert.match(cells[1], /^\d+\.\d s/);
    assert.equal(cells[2].trim(), "10.0 s");
    assert.equal(cells[3].trim(), "all");
    assert.match(await shown.locator("svg title").first().textContent(), /^\d+ % of the bound$/);
    await stage.screen(page, "fleet-gateway");
  } finally {
    gateway.kill("SIGKILL");
    await once(gateway, "exit");
  }
};
