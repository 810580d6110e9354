// The other screens: expiring and idle, policies, audit, fleet, leaks, namespaces.
import { assert } from "../stage.mjs";

export default async (stage) => {
  stage.namespace("acme", "orders");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  for (const [name, life] of [["tomorrow", "1d"], ["this week", "5d"], ["next month", "30d"], ["also then", "30d"], ["far", "300d"]]) {
    stage.key("acme", "orders", "user:alice", name, "--expires", life);
  }
  const leaked = stage.key("acme", "orders", "user:bob", "in a gist");
  await stage.until(alice, 200);
  await stage.opens(leaked, "orders");
  const page = await stage.page();
  await stage.signIn(page, alice);
  await stage.go(page, "/expiring");
  await page.getByRole("rowheader", { name: "tomorrow" }).waitFor();
  assert.equal(await page.getByRole("rowheader", { name: "far" }).count(), 0);
  await page.locator(".calendar").getByText("2 keys").waitFor();
  await stage.screen(page, "expiring");

  await stage.go(page, "/policies");
  await stage.screen(page, "policies");
  await page.getByRole("link", { name: "Change the policy of orders" }).click();
  await page.getByLabel("Longest life of a secret").fill("60d");
  await page.getByLabel("Keys of one owner").fill("2");
  await page.getByRole("button", { name: "Show what this does" }).click();
  await page.getByText("2 keys expire earlier").waitFor();
  await page.getByText("user:alice has 5 keys, more than allowed").waitFor();
  await stage.screen(page, "policy");
  await page.getByRole("button", { name: "Set the policy" }).click();
  await page.getByText("The policy is set: orders").waitFor();
  await page.getByText("No key stopped.").waitFor();
  await page.getByText("A key works for 60 days at the longest").waitFor();
  await stage.audited(page, "alice", "Policy set");
  // What was shown is what is set: another value is shown first.
  await stage.go(page, "/policies/orders");
  await page.getByLabel("Longest life of a secret").fill("50d");
  await page.getByRole("button", { name: "Show what this does" }).click();
  await page.getByLabel("Longest life of a secret").fill("1h");
  await page.getByLabel("Keys of one owner").fill("3");
  await page.getByRole("button", { name: "Set the policy" }).click();
  await page.getByText("What this does was not shown before").waitFor();
  await stage.screen(page, "policy-not-shown");
  await page.getByRole("button", { name: "Show what the default policy does" }).click();
  await page.getByRole("heading", { name: "What the default policy does" }).waitFor();
  await stage.screen(page, "policy-default");
  await page.getByRole("button", { name: "Use the default policy" }).click();
  await page.getByText("The default policy applies again: orders").waitFor();
  await page.getByRole("button", { name: "Set it back…" }).click();
  await page.getByRole("button", { name: "Set the policy" }).click();
  await page.getByText("A key works for 60 days at the longest").waitFor();

  await stage.go(page, "/leaks");
  await page.getByLabel("The text that was found").fill(leaked);
  await page.getByRole("button", { name: "Only check it" }).click();
  await page.getByText("This credential works").waitFor();
  assert.equal(await stage.auth(leaked, "orders"), 200);
  assert(!(await page.content()).includes(leaked.split(":")[1]));
  // To look at a key that was found is no use of it, also once the server has written what was used.
  const unused = stage.key("acme", "orders", "user:bob", "unused", "--expires", "30d");
  const end = Date.now() + 10_000;
  for (;;) {
    await page.getByLabel("The text that was found").fill(unused);
    await page.getByRole("button", { name: "Only check it" }).click();
    await page.getByRole("heading", { name: /This/ }).waitFor();
    if (await page.getByText("This credential works").count()) break;
    assert(Date.now() < end, "the key does not work");
  }
  await page.waitForTimeout(1_000);
  await stage.go(page, `/keys/orders/${unused.split(":")[0]}`);
  assert.equal(await page.locator(".facts div", { hasText: "Last used" }).locator("dd").innerText(), "never");
  await stage.go(page, "/leaks");
  await page.getByLabel("The text that was found").fill(leaked);
  await page.getByRole("button", { name: "Revoke it now" }).click();
  await page.getByText("The credential is revoked").waitFor();
  await page.getByRole("rowheader", { name: "bob" }).waitFor();
  await stage.audited(page, "alice", "Key revoked");
  assert.notEqual(await stage.auth(leaked, "orders"), 200);
  await stage.screen(page, "leaks");

  await stage.go(page, "/audit");
  await page.getByRole("rowheader", { name: /Policy set/ }).first().waitFor();
  await page.locator("details summary").first().click();
  await stage.screen(page, "audit");
  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "Export" }).click();
  const path = await (await download).path();
  const { readFileSync } = await import("node:fs");
  const lines = readFileSync(path, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  assert(lines.length >= 8 && lines.every((line) => line.hash && line.team === "acme"));
  assert(!readFileSync(path, "utf8").includes("_sk_"));

  await stage.go(page, "/team");
  await page.getByRole("link", { name: "Remove… orders" }).click();
  await page.getByText("used in the last 7 days").waitFor();
  await stage.screen(page, "namespace-remove");
  await page.getByLabel(/^Type/).fill("orders");
  await page.getByRole("button", { name: "Remove the namespace" }).click();
  await page.getByText("The namespace orders is removed").waitFor();
  await page.getByRole("button", { name: "Restore the namespace" }).click();
  await page.getByText("The namespace is there again").waitFor();

  const operator = await stage.page();
  await stage.signIn(operator, stage.operator);
  await stage.go(operator, "/fleet");
  await stage.screen(operator, "fleet");
  await stage.go(operator, "/audit");
  await operator.getByRole("button", { name: "Verify the chain" }).click();
  await operator.getByText("The audit trail is intact").waitFor();
  await stage.go(operator, "/nothing-here");
};
