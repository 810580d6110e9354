// The first six screens without script.
import { SHARED as GUEST, assert } from "../stage.mjs";

export default async (stage) => {
  stage.namespace("acme", "orders");
  stage.namespace("acme", "billing");
  stage.importShared("acme", "guest", "--until", "30d");
  stage.key("acme", "orders", "user:bob", "bob's");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  await stage.until(alice, 200);
  const page = await stage.page({ javaScriptEnabled: false });
  await stage.signIn(page, alice);
  // Create, with the rules of the other namespace on request.
  await stage.go(page, "/keys/new");
  await page.getByLabel("Name", { exact: true }).fill("plain");
  await page.getByLabel("Namespace", { exact: true }).selectOption({ label: "billing" });
  await page.getByRole("button", { name: "Show its rules" }).click();
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "plain");
  await stage.plain(page, "create");
  await page.getByRole("button", { name: /Check and create/ }).click();
  await stage.plain(page, "review");
  await page.getByRole("button", { name: "Create the key" }).click();
  const credential = (await page.locator("#credential").textContent()).trim();
  assert.equal(await stage.auth(credential, "billing"), 200);
  await stage.plain(page, "secret");
  await page.getByText("I have stored it").click();
  stage.step("created");
  // Search.
  await stage.go(page, "/keys");
  await page.getByRole("searchbox").fill("plai");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("1 key found").waitFor();
  await stage.plain(page, "keys");
  // A whole credential is searched for by its identifier, and is in no address.
  await page.getByRole("searchbox").fill(credential);
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("The secret was left out of the search").waitFor();
  await page.getByText("1 key found").waitFor();
  assert(!page.url().includes(credential.split(":")[1]) && page.url().includes(credential.split(":")[0]));
  // Rotate.
  await page.getByRole("link", { name: "Rotate plain" }).click();
  await stage.plain(page, "rotate");
  await page.getByRole("radio", { name: /^Now/ }).check();
  await page.getByRole("button", { name: /Rotate and show/ }).click();
  const rotated = (await page.locator("#credential").textContent()).trim();
  assert.equal(await stage.auth(rotated, "billing"), 200);
  assert.notEqual(await stage.auth(credential, "billing"), 200);
  await page.getByText("I have stored it").click();
  stage.step("rotated");
  // A person leaves.
  await stage.go(page, "/people/user:bob/leave");
  await stage.plain(page, "leave");
  await page.getByLabel(/^Type/).fill("bob");
  await page.getByRole("button", { name: /Remove bob/ }).click();
  await page.getByText("bob has left acme").waitFor();
  await page.getByRole("button", { name: "Restore bob" }).click();
  await page.getByText("bob is back in acme").waitFor();
  stage.step("left and restored");
  // Migration.
  await stage.go(page, "/migration");
  await stage.plain(page, "migration");
  await stage.go(page, "/migration/guest/cut-off");
  await stage.plain(page, "cut-off");
  await page.getByLabel(/^Type/).fill("guest");
  await page.getByRole("button", { name: "Cut off now" }).click();
  await page.getByRole("button", { name: "Undo the cut-off", exact: true }).click();
  await page.getByText("The cut-off of guest is undone").waitFor();
  assert.equal(await stage.auth(GUEST, "guest"), 200);
  // Revoke, and sign out.
  await stage.go(page, "/keys");
  await page.getByRole("checkbox", { name: "Select plain" }).check();
  await page.getByRole("button", { name: /Revoke the selected/ }).click();
  await page.getByLabel(/^Type/).fill("plain");
  await page.getByRole("button", { name: "Revoke for good" }).click();
  await page.getByText("plain is revoked").waitFor();
  assert.notEqual(await stage.auth(rotated, "billing"), 200);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("You are signed out.").waitFor();
};
