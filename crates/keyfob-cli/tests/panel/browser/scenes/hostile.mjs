// Names that try to be HTML, script, addresses or long: they are text on every screen.
import { assert } from "../stage.mjs";

const NAMES = [
  `<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `{{7*7}}\${7*7}`,
  `javascript:alert(1)`, `../../session/end?x=1#y`, `\u202egnp.exe`, `<button hx-post="/session/end" hx-trigger="load">`,
  "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
];

export default async (stage) => {
  stage.namespace("acme", "orders");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  await stage.until(alice, 200);
  const page = await stage.page();
  page.on("dialog", () => stage.faults.push("a script ran"));
  await stage.signIn(page, alice);
  let made = 0;
  for (const name of NAMES) {
    await stage.go(page, `/keys/new?life=30d&scopes=a&labels=${encodeURIComponent("x:" + name.slice(0, 60))}&name=${encodeURIComponent(name)}`);
    assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), name.trim());
    await page.getByRole("button", { name: /Check and create/ }).click();
    await page.getByRole("button", { name: "Create the key" }).click();
    const secret = page.locator("#credential"), refused = page.locator(".notice.bad");
    await secret.or(refused).first().waitFor();
    if (await secret.count()) {
      made += 1;
      await page.getByText("I have stored it").click();
      assert.equal(await page.locator("h1").textContent(), name.trim());
    }
  }
  assert(made >= 5, `${made} were accepted`);
  for (const path of ["/keys", "/keys?whose=everybody", "/expiring", "/people/user:alice", "/people/user:alice/leave", "/audit", "/team",
    "/policies", ...NAMES.map((name) => `/keys?q=${encodeURIComponent(name)}`), ...NAMES.map((name) => `/people/${encodeURIComponent(name)}`),
    ...NAMES.map((name) => `/session?why=${encodeURIComponent(name)}&next=${encodeURIComponent(name)}`)]) {
    await stage.go(page, path);
    assert.equal(await page.locator("script:not([nonce]), img, [onerror], [onmouseover], [hx-post]").count(), 0, path);
  }
  await stage.go(page, "/keys");
  await stage.screen(page, "hostile");
  // The same in every other field: what is refused is shown again, and what is kept is shown as text.
  const text = async (where) => {
    assert.equal(await page.locator("script:not([nonce]), main img, [onerror], [onmouseover], [hx-post]").count(), 0, where);
  };
  const key = stage.key("acme", "orders", "user:alice", "target");
  await stage.opens(key, "orders");
  stage.importShared("acme", "guest", "--until", "30d");
  for (const [at, name] of NAMES.entries()) {
    // One caller may make only so many requests in a minute.
    const admin = await stage.control("acme", `user:admin-${at}`, "team:admin");
    await stage.until(admin, 200);
    await page.context().clearCookies();
    await stage.signIn(page, admin);
    await stage.go(page, "/team");
    await page.getByLabel("Namespace", { exact: true }).fill(name);
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await text(`the label ${name}`);
    await stage.go(page, "/keys/new");
    await page.getByLabel("Name", { exact: true }).fill(`of ${at}`);
    await page.getByLabel("A service").check();
    await page.getByLabel("Name of the person or service").fill(name);
    await page.getByLabel("Scopes").fill(name);
    await page.getByRole("button", { name: /Check and create/ }).click();
    await page.locator("h1").waitFor();
    await text(`the owner and the scopes ${name}`);
    const create = page.getByRole("button", { name: "Create the key" });
    if (await create.count()) {
      await create.click();
      await page.locator("h1").waitFor();
      await text(`the owner and the scopes ${name}, sent`);
    }
    for (const [path, button] of [[`/keys/orders/${key.split(":")[0]}/rotate`, /Rotate and show/], ["/people/user:alice/leave", /Remove alice/],
      ["/migration/guest/cut-off", "Cut off now"]]) {
      await stage.go(page, path);
      await page.getByLabel(/^Reason/).fill(name);
      const typed = page.getByLabel(/^Type/);
      if (await typed.count()) await typed.fill(name);
      await page.getByRole("button", { name: button }).click();
      await page.locator("h1").waitFor();
      await text(`the reason of ${path}: ${name}`);
    }
    await stage.go(page, "/leaks");
    await page.getByLabel("The text that was found").fill(name);
    await page.getByLabel(/^Where/).fill(`https://paste.example/${name}`);
    await page.getByRole("button", { name: "Revoke it now" }).click();
    await page.locator("h1").waitFor();
    await text(`the address of a leak ${name}`);
    for (const field of ["actor", "action", "key", "namespace", "since", "until", "cursor"]) {
      await stage.go(page, `/audit?${field}=${encodeURIComponent(name)}`);
      await text(`the filter ${field}: ${name}`);
    }
  }
  for (const path of ["/keys?whose=everybody", "/team", "/policies", "/audit", "/expiring", "/leaks", "/migration"]) {
    await stage.go(page, path);
    await text(path);
  }
  await stage.go(page, "/team");
  await stage.screen(page, "hostile-team");
  // Still signed in: no name did anything.
  await page.getByRole("button", { name: "Sign out" }).waitFor();
};
