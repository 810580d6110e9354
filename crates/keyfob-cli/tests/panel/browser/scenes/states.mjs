// What a screen shows when there is nothing, when something is wrong, or when it is refused.
import { assert } from "../stage.mjs";

export default async (stage) => {
  const operator = await stage.page();
  await stage.signIn(operator, stage.operator);
  await operator.getByRole("heading", { name: /three steps/ }).waitFor();
  await stage.screen(operator, "welcome");
  stage.namespace("acme", "orders");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  const bob = await stage.control("acme", "user:bob", "function:admin");
  await stage.until(bob, 200);
  const member = await stage.page();
  await stage.signIn(member, bob);
  for (const [path, status, name] of [["/fleet", 403, "forbidden"], ["/keys/orders/nothing", 404, "not-found"],
    ["/keys?cursor=x", 400, "bad-request"]]) {
    assert.equal((await stage.go(member, path)).status(), status, path);
    await stage.screen(member, name);
  }
  const page = await stage.page();
  await stage.signIn(page, alice);
  for (const [path, text, name] of [["/keys?q=nothing", "No key fits", "no-key-fits"], ["/expiring", "No key expires", "nothing-expires"],
    ["/migration", "No shared credentials", "no-shared-credentials"], ["/audit?key=23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "No event fits", "no-event"],
    ["/people/user:nobody", "No keys in this team", "nobody"], ["/keys/revoke", "Nothing to revoke", "nothing-to-revoke"]]) {
    await stage.go(page, path);
    await page.getByText(text).first().waitFor();
    await stage.screen(page, name);
  }
  const carol = await stage.control("acme", "user:carol", "team:admin");
  await stage.until(carol, 200);
  const empty = await stage.page();
  await stage.signIn(empty, carol);
  await stage.go(empty, "/leaks");
  await empty.getByText("No credential was reported as found in the open.").waitFor();
  await stage.screen(empty, "no-leaks");

  // Faults of forms.
  const key = stage.key("acme", "orders", "user:alice", "worker", "--expires", "30d");
  await stage.opens(key, "orders");
  await stage.go(page, `/keys/orders/${key.split(":")[0]}/rotate`);
  await page.getByRole("radio", { name: /^Until a time/ }).check();
  await page.getByRole("button", { name: /Rotate and show/ }).click();
  await page.locator("#fault-until").waitFor();
  await stage.screen(page, "rotate-fault");
  stage.importShared("acme", "guest", "--until", "30d");
  await stage.go(page, "/migration/guest");
  await page.getByLabel("Sunset, in UTC").fill("2020-01-01T00:00");
  await page.getByRole("button", { name: "Set the sunset" }).click();
  await page.locator("#fault-sunset").getByText("To stop them now, use the cut-off").waitFor();
  await stage.screen(page, "sunset-fault");
  await stage.go(page, "/policies/orders");
  await page.getByLabel("Longest grace period").fill("1h");
  await page.getByLabel("Keys of one owner").fill("many");
  await page.getByRole("button", { name: "Show what this does" }).click();
  await page.locator("#fault-keys_per_owner").waitFor();
  await stage.screen(page, "policy-fault");

  // A session ends while a form is filled in: nothing that was typed is lost.
  await stage.go(page, "/keys/new");
  await page.getByLabel("Name", { exact: true }).fill("typed for a long time");
  await page.getByLabel("Scopes").fill("orders:read");
  const other = await page.context().newPage();
  await stage.go(other, "/keys");
  await other.getByRole("button", { name: "Sign out" }).click();
  await other.getByText("You are signed out.").waitFor();
  await page.getByRole("button", { name: /Check and create/ }).click();
  await page.getByText("What you entered is kept on this page").waitFor();
  await stage.screen(page, "interrupted");
  await stage.signIn(other, alice);
  await page.getByRole("button", { name: "Send it again" }).click();
  await page.getByRole("heading", { name: "Check the new key" }).waitFor();
  await page.getByText("typed for a long time").waitFor();
  stage.step("interrupted, and sent again");

  // A part of a page that is refused leaves what there is.
  const own = stage.key("acme", "orders", "user:carol", "desk of carol");
  await stage.opens(own, "orders");
  await stage.go(empty, "/keys");
  await empty.getByRole("link", { name: "desk of carol", exact: true }).waitFor();
  await stage.whileExhausted(carol, async () => {
    await empty.getByRole("searchbox").fill("desk");
    await empty.locator("#problem").getByRole("heading", { name: "Too many requests" }).waitFor();
    await empty.getByRole("link", { name: "desk of carol", exact: true }).waitFor();
    await stage.screen(empty, "too-many-requests-for-a-part");
    assert.equal((await stage.go(empty, "/keys")).status(), 429);
    await stage.screen(empty, "too-many-requests");
  });
  const dave = await stage.control("acme", "user:dave", "team:admin");
  await stage.until(dave, 200);
  stage.namespace("acme", "billing");
  const form = await stage.page();
  await stage.signIn(form, dave);
  await stage.go(form, "/keys/new");
  await form.getByLabel("Name", { exact: true }).fill("kept");
  await stage.whileExhausted(dave, async () => {
    await form.getByLabel("Namespace", { exact: true }).selectOption({ label: "billing" });
    await form.locator("#problem").getByRole("heading", { name: "Too many requests" }).waitFor();
  });
  assert.equal(await form.locator("#rules").count(), 1);
  assert.equal(await form.getByLabel("Name", { exact: true }).inputValue(), "kept");

  // A secret that is pasted into the search stays out of the address.
  const search = await stage.page();
  const addresses = [];
  search.on("request", (request) => addresses.push(request.url()));
  const erin = await stage.control("acme", "user:erin", "team:admin");
  await stage.until(erin, 200);
  await stage.signIn(search, erin);
  await stage.go(search, "/keys?whose=everybody");
  await search.getByRole("searchbox").focus();
  await search.keyboard.insertText(key);
  await search.getByText("1 key found").waitFor();
  assert.equal(await search.getByRole("searchbox").inputValue(), key.split(":")[0]);
  const secret = key.split(":")[1];
  assert(addresses.every((address) => !address.includes(secret)), "the secret is in an address");

  // A name that is not this machine's, without HTTPS: the browser does not keep the session.
  const port = new URL(stage.url).port;
  const far = await (await stage.browser.newContext()).newPage();
  await far.goto(`http://keys.example:${port}/session`);
  await far.getByLabel("Control key").fill(alice);
  await far.getByRole("button", { name: "Sign in" }).click();
  await far.getByText("your browser did not keep the session").waitFor();
  await far.screenshot({ path: `${stage.pictures}/no-cookie.png` });
};
