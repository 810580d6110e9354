// From a shared credential to its cut-off, and back.
import { SHARED as GUEST, assert } from "../stage.mjs";

export default async (stage) => {
  stage.importShared("acme", "guest", "--until", "30d");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  await stage.until(alice, 200);
  await stage.opens(GUEST, "guest");
  const page = await stage.page();
  await stage.signIn(page, alice);
  await page.getByRole("link", { name: "Migration" }).click();
  const state = page.getByText("Still in use", { exact: true });
  for (let tries = 0; !(await state.isVisible()) && tries < 40; tries++) {
    await page.waitForTimeout(100);
    await page.reload();
  }
  await page.getByRole("link", { name: "Sunset of guest" }).click();
  const now = Date.now();
  const at = (days, hours) => new Date(now + days * 86_400_000 + hours * 3_600_000).toISOString().slice(0, 16);
  await page.getByLabel("Sunset, in UTC").fill(at(20, 0));
  await page.getByLabel("From, in UTC").nth(0).fill(at(5, 0));
  await page.getByLabel("Until, in UTC").nth(0).fill(at(4, 0));
  await page.getByRole("button", { name: "Set the sunset" }).click();
  await page.locator("#fault-brownouts").waitFor();
  assert.equal(await page.getByLabel("Sunset, in UTC").inputValue(), at(20, 0));
  await page.getByLabel("Until, in UTC").nth(0).fill(at(5, 2));
  await page.getByLabel("From, in UTC").nth(1).fill(at(10, 0));
  await page.getByLabel("Until, in UTC").nth(1).fill(at(10, 12));
  await stage.screen(page, "sunset");
  await page.getByRole("button", { name: "Set the sunset" }).click();
  await page.getByText("The sunset of guest is set").waitFor();
  await stage.screen(page, "migration");
  // The plot has a title, and a table with the same numbers: one call with the shared credential today.
  const plot = page.locator("figure.plot");
  assert.equal(await plot.locator("svg title").textContent(), "Calls by day, with keys and with shared credentials");
  await plot.locator("summary").click();
  const cells = await plot.getByRole("row").last().locator("th, td").allInnerTexts();
  const [day, month, year] = [new Date().getUTCDate(), new Date().toLocaleString("en-US", { month: "short", timeZone: "UTC" }), new Date().getUTCFullYear()];
  assert.deepEqual(cells, [`${day} ${month} ${year}`, "0", "1"]);
  assert.match(await page.locator(".timeline title").textContent(), /^Accepted until .*, 2 brownouts to come$/);
  await stage.audited(page, "alice", "Legacy policy set");
  await page.getByRole("link", { name: /Cut off/ }).click();
  await stage.screen(page, "cut-off");
  await page.getByRole("button", { name: "Cut off now" }).click();
  assert.equal(await stage.auth(GUEST, "guest"), 200, "the name was not typed");
  await page.getByLabel(/^Type/).fill("guest");
  await page.getByRole("button", { name: "Cut off now" }).click();
  await page.getByText("guest is cut off").waitFor();
  await page.getByText("1 shared credential is refused from now on.").waitFor();
  assert.notEqual(await stage.auth(GUEST, "guest"), 200);
  await stage.screen(page, "cut");
  // The undo is also there later, in another session and for somebody else.
  const carol = await stage.control("acme", "user:carol", "team:admin");
  await stage.until(carol, 200);
  const other = await stage.page();
  await stage.signIn(other, carol);
  await stage.go(other, "/migration");
  await other.getByRole("button", { name: "Undo the cut-off of guest" }).waitFor();
  await stage.go(page, "/migration");
  await page.getByRole("button", { name: "Undo the cut-off of guest" }).click();
  await page.getByText("The cut-off of guest is undone").waitFor();
  assert.equal(await stage.auth(GUEST, "guest"), 200);
  await stage.audited(page, "alice", "Legacy policy set");
  await page.locator(".timeline title").filter({ hasText: "2 brownouts to come" }).waitFor({ state: "attached" });
};
