// The life of a key: created, found, rotated with a grace period, disabled, enabled, renamed, revoked.
import { assert } from "../stage.mjs";

export default async (stage) => {
  stage.namespace("acme", "orders");
  stage.namespace("acme", "billing");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  stage.key("acme", "orders", "user:alice", "ci runner", "--expires", "10d", "--scope", "orders:read", "--scope", "orders:write");
  stage.key("acme", "orders", "user:alice", "laptop", "--expires", "90d", "--label", "environment=staging");
  stage.key("acme", "billing", "user:alice", "invoice export, nightly", "--expires", "365d");
  await stage.until(alice, 200);
  const page = await stage.page();
  await stage.signIn(page, alice);
  await page.getByRole("row", { name: /ci runner/ }).waitFor();
  await stage.screen(page, "keys");

  // The policy is shown before, and presets that it does not allow cannot be chosen.
  stage.keyfob("policy", "set", "-n", "billing", "--team", "acme", "--max-ttl", "60d", "--expiry-required", "true");
  await page.getByRole("link", { name: "Create a key" }).first().click();
  await page.getByLabel("Name", { exact: true }).fill("worker");
  await page.getByLabel("A service").check();
  await page.getByLabel("Name of the person or service").fill("checkout");
  await page.getByLabel("Scopes").fill("orders:read");
  await stage.screen(page, "create");
  await page.getByLabel("Namespace", { exact: true }).selectOption({ label: "billing" });
  await page.getByText("A key works for 60 days at the longest, and must have an expiry.").waitFor();
  assert(await page.getByRole("radio", { name: /^Never/ }).isDisabled());
  assert(await page.getByRole("radio", { name: /^90 days/ }).isDisabled());
  // Nothing that was typed is gone.
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "worker");
  assert.equal(await page.getByLabel("Name of the person or service").inputValue(), "checkout");
  assert.equal(await page.getByLabel("Scopes").inputValue(), "orders:read");
  assert(await page.getByLabel("A service").isChecked());
  await page.getByLabel("Scopes").fill("größe");
  await page.getByRole("radio", { name: /^30 days/ }).check();
  await page.getByRole("button", { name: /Check and create/ }).click();
  await stage.screen(page, "review");
  await page.getByRole("button", { name: "Create the key" }).click();
  // A refusal shows the form again, with its fault and with everything that was typed.
  await page.locator("#fault-scopes").waitFor();
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "worker");
  await stage.screen(page, "create-fault");
  await page.getByLabel("Scopes").fill("invoices:read");
  await page.getByRole("button", { name: /Check and create/ }).click();
  // Its address fills in the form.
  const template = await page.getByRole("link", { name: /Address of this form/ }).getAttribute("href");
  await page.getByRole("button", { name: "Create the key" }).click();
  const credential = (await page.locator("#credential").textContent()).trim();
  assert.equal(await stage.auth(credential, "billing"), 200);
  await stage.screen(page, "secret");
  // The dialog has one text to copy, and Escape does not lose it.
  for (let n = 0; n < 4; n++) {
    await page.keyboard.press("Escape");
    await page.waitForTimeout(100);
    assert(await page.locator("#credential").isVisible(), `Escape ${n + 1}`);
    assert(await page.locator("#secret").evaluate((dialog) => dialog.matches(":modal")), `Escape ${n + 1}`);
  }
  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download as .env" }).click();
  assert.equal((await download).suggestedFilename(), "keyfob.env");
  // Sent again, the form gives the same key a new secret, as long as nobody used it.
  await page.getByText("I have stored it").click();
  const other = await stage.page({ storageState: await page.context().storageState() });
  await stage.go(other, template);
  assert.equal(await other.getByLabel("Name", { exact: true }).inputValue(), "worker");
  assert.equal(await other.getByLabel("Scopes").inputValue(), "invoices:read");
  stage.step("created");

  await page.getByRole("link", { name: "Keys", exact: true }).first().click();
  await page.getByText("Everybody’s").click();
  await page.getByRole("searchbox").fill("WORK");
  await page.getByText("1 key found").waitFor();
  assert.match(page.url(), /q=WORK/);
  await page.getByRole("link", { name: "worker", exact: true }).click();
  await stage.screen(page, "key");
  // A time is shown in the reader's zone, and a plot with a title.
  await stage.audited(page, "alice", "Key created");
  await page.getByRole("link", { name: "Rotate…" }).click();
  await stage.screen(page, "rotate");
  await page.getByRole("radio", { name: /^1 hour/ }).check();
  await page.getByRole("button", { name: /Rotate and show/ }).click();
  await page.getByText("The old secret works as well until").waitFor();
  const rotated = (await page.locator("#credential").textContent()).trim();
  assert.notEqual(rotated, credential);
  assert.equal(rotated.split(":")[0], credential.split(":")[0]);
  for (const secret of [rotated, credential]) assert.equal(await stage.auth(secret, "billing"), 200);
  await page.getByText("I have stored it").click();
  await page.getByRole("heading", { name: "Two secrets work" }).waitFor();
  // The call with the old secret is counted once the server has written it.
  const end = Date.now() + 10_000;
  while (await page.getByText(/^1 call since the rotation/).count() === 0) {
    assert(Date.now() < end, "the use of the old secret is not shown");
    await new Promise((done) => setTimeout(done, 200));
    await page.reload();
  }
  await stage.screen(page, "two-secrets");
  const plot = page.locator("figure.plot");
  assert.equal(await plot.locator("svg title").textContent(), "Calls by day");
  await plot.locator("summary").click();
  assert.match((await plot.getByRole("row").last().locator("th, td").allInnerTexts()).join(), /^\d+ \w+ \d{4},3,0$/);
  const old = page.locator("time[datetime]", { hasText: /\d\d:\d\d/ }).first();
  const [at, shown] = [await old.getAttribute("datetime"), await old.textContent()];
  const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "short", timeZone: "Europe/Berlin" }).format(new Date(at));
  assert(shown.includes(clock), `${at} is shown as ${shown}, not as ${clock}`);
  await stage.audited(page, "alice", "Key rotated");
  stage.step("rotated");

  await page.getByRole("button", { name: "Disable", exact: true }).click();
  await page.getByText("worker is disabled").waitFor();
  assert.notEqual(await stage.auth(rotated, "billing"), 200);
  await page.getByRole("button", { name: "Enable it again" }).click();
  await page.getByText("worker is enabled").waitFor();
  assert.equal(await stage.auth(rotated, "billing"), 200);
  await page.getByLabel("Name", { exact: true }).fill("worker, billing");
  await page.getByRole("button", { name: "Rename" }).click();
  await page.getByText("The key is now called worker, billing").waitFor();
  await page.getByRole("button", { name: "Call it worker again" }).click();
  await page.getByText("The key is now called worker", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Call it worker, billing again" }).click();
  await page.getByText("The key is now called worker, billing").waitFor();
  await stage.audited(page, "alice", "Key updated");
  // The audit trail names the person.
  await page.getByText("key rotated").first().waitFor();
  stage.step("disabled, enabled, renamed");

  await page.getByRole("button", { name: "Revoke…" }).click();
  await page.getByRole("button", { name: "Revoke for good" }).waitFor();
  await stage.screen(page, "revoke");
  await page.getByLabel(/^Type/).fill("worker");
  await page.getByRole("button", { name: "Revoke for good" }).click();
  await page.locator("#fault-typed").waitFor();
  assert.equal(await stage.auth(rotated, "billing"), 200);
  await page.getByLabel(/^Type/).fill("worker, billing");
  await page.getByRole("button", { name: "Revoke for good" }).click();
  await page.getByText("worker, billing is revoked").waitFor();
  await stage.audited(page, "alice", "Key revoked");
  assert.notEqual(await stage.auth(rotated, "billing"), 200);
  // Several at once.
  await stage.go(page, "/keys?whose=mine");
  await page.getByRole("checkbox", { name: "Select laptop" }).check();
  await page.getByRole("checkbox", { name: "Select ci runner" }).check();
  await page.getByRole("button", { name: /Revoke the selected/ }).click();
  await page.getByLabel(/^Type/).fill("revoke 2");
  await page.getByRole("button", { name: "Revoke for good" }).click();
  await page.getByText("2 keys revoked").waitFor();
  await stage.screen(page, "revoked");
  stage.step("revoked");
};
