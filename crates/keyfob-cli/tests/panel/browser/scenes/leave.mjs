// A person leaves: the preview, the name typed, what ended, and the undo.
import { assert } from "../stage.mjs";

export default async (stage) => {
  for (const name of ["orders", "billing", "search"]) stage.namespace("acme", name);
  const alice = await stage.control("acme", "user:alice", "team:admin");
  const bob = await stage.control("acme", "user:bob", "function:admin");
  const keys = ["orders", "billing"].map((namespace) => stage.key("acme", namespace, "user:bob", `bob in ${namespace}`));
  const hers = stage.key("acme", "orders", "user:alice", "alice in orders");
  await stage.until(bob, 200);
  await stage.opens(hers, "orders");
  await stage.opens(keys[0], "orders");
  const page = await stage.page();
  await stage.signIn(page, alice);
  await stage.go(page, "/team");
  await page.getByRole("link", { name: "Leaves… bob" }).click();
  const used = page.locator(".stats").getByText("1 used in the last 7 days");
  for (let tries = 0; !(await used.isVisible()) && tries < 40; tries++) {
    await page.waitForTimeout(100);
    await page.reload();
  }
  await page.getByText("3 keys").first().waitFor();
  await stage.screen(page, "leave");
  await page.getByLabel(/^Type/).fill("Bob");
  await page.getByRole("button", { name: /Remove bob/ }).click();
  await page.locator("#fault-typed").waitFor();
  assert.equal(await stage.auth(keys[1], "billing"), 200);
  await page.getByLabel(/^Reason/).fill("left the company");
  await page.getByLabel(/^Type/).fill("bob");
  await page.getByRole("button", { name: /Remove bob/ }).click();
  await page.getByText("bob has left acme").waitFor();
  await page.getByText("3 keys were revoked, at once and for good.").waitFor();
  await stage.screen(page, "left");
  for (const [at, namespace] of ["orders", "billing"].entries()) assert.notEqual(await stage.auth(keys[at], namespace), 200);
  assert.equal(await stage.auth(hers, "orders"), 200);
  await page.getByRole("link", { name: "bob in orders", exact: true }).waitFor();
  await stage.audited(page, "alice", "Removed");
  await stage.go(page, "/audit?action=removed");
  await page.getByText("“left the company”").waitFor();
  await stage.go(page, "/team");
  await page.getByRole("button", { name: "Restore bob" }).click();
  await page.getByText("bob is back in acme").waitFor();
  assert.notEqual(await stage.auth(keys[0], "orders"), 200, "what was revoked stays revoked");
};
