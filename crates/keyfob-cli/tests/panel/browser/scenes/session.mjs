// Sessions: wrong keys, cookies, signing out, and a key that is revoked by another process.
import { assert } from "../stage.mjs";

export default async (stage) => {
  stage.namespace("acme", "orders");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  const plain = stage.key("acme", "orders", "user:alice", "not for the panel");
  await stage.until(alice, 200);
  const page = await stage.page();
  for (const [text, says] of [["nonsense", /not a valid control key/], [alice.slice(0, -3), /not a valid control key/],
    [plain, /does not open the control plane/]]) {
    await stage.go(page, "/session");
    await page.getByLabel("Control key").fill(text);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText(says).waitFor();
    assert(!(await page.content()).includes(text), "a credential is not shown again");
  }
  await stage.go(page, "/audit");
  await page.waitForURL("**/session?next=%2Faudit");
  await page.getByLabel("Control key").fill(alice);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/audit");
  const [cookie] = await page.context().cookies();
  assert.equal(cookie.name, "__Host-keyfob");
  assert(cookie.httpOnly && cookie.secure && cookie.sameSite === "Strict" && cookie.path === "/");
  assert(cookie.value.length >= 43 && !alice.includes(cookie.value));
  assert.equal(await page.evaluate(() => document.cookie + localStorage.length + sessionStorage.length), "00");
  const response = await stage.go(page, "/keys");
  assert.equal(response.headers()["cache-control"], "no-store");

  // Signing out ends it for everyone who has the cookie.
  const copy = await stage.page({ storageState: await page.context().storageState() });
  await stage.go(copy, "/keys");
  await copy.getByRole("heading", { name: "My keys" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("You are signed out.").waitFor();
  await stage.go(copy, "/keys");
  await copy.waitForURL("**/session**");

  // The key is revoked by another process: the next request is refused, also one by script.
  await stage.signIn(page, alice);
  await stage.go(page, "/keys");
  stage.keyfob("keys", "revoke", alice.split(":")[0], "-n", "control:acme", "--team", "acme");
  await stage.until(alice, 401);
  await page.getByRole("searchbox").fill("x");
  await page.getByText(/Your session has ended/).waitFor();
  await stage.screen(page, "ended");
  assert.deepEqual(await page.context().cookies(), []);
};
