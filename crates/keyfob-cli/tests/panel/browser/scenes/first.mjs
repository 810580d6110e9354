// A first start, by links alone: from the operator's credential to the first key, its rotation, a person who comes
// and leaves, and a migration.
import { SHARED, assert } from "../stage.mjs";

export default async (stage) => {
  const page = await stage.page();
  const link = (name) => page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
  const stored = async () => {
    const credential = (await page.locator("#credential").textContent()).trim();
    await page.getByText("I have stored it").click();
    return credential;
  };
  stage.began = Date.now();
  await stage.go(page, "/");
  await page.waitForURL("**/session**");
  stage.step("the first page");
  await page.getByLabel("Control key").fill(stage.operator);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: /three steps/ }).waitFor();
  stage.step("signed in");
  await page.getByLabel("Team", { exact: true }).fill("acme");
  await page.getByLabel("Namespace", { exact: true }).fill("orders");
  await page.getByRole("button", { name: "Create and go on" }).click();
  await page.getByText("The namespace orders is there").waitFor();
  stage.step("team and namespace");
  await page.getByLabel("Name", { exact: true }).fill("laptop");
  await page.getByRole("button", { name: /Check and create/ }).click();
  stage.step("form");
  await page.getByRole("button", { name: "Create the key" }).click();
  const credential = (await page.locator("#credential").textContent()).trim();
  stage.step("key");
  const took = Date.now() - stage.began;
  assert(took < 60_000, `${took} ms`);
  assert.match(credential, /^[a-z]+_v1_[0-9a-f]{32}:[a-z]+_sk_\w/);
  await page.getByRole("button", { name: "Copy" }).click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), credential);
  await page.getByText("I have stored it").click();
  await page.getByRole("heading", { name: "laptop" }).waitFor();
  const namespace = new URL(page.url()).pathname.split("/")[2];
  assert.match(namespace, /^fn-/);
  assert.equal(await stage.auth(credential, namespace), 200);
  // It is shown nowhere any more, and the namespace by its label.
  assert(!(await page.content()).includes(credential.split(":")[1]));
  await page.locator(".facts dd").first().getByText("orders").waitFor();
  stage.step(`the first key, after ${took} ms`);

  await page.getByRole("link", { name: "Rotate…" }).click();
  await page.getByRole("radio", { name: /^1 hour/ }).check();
  await page.getByRole("button", { name: /Rotate and show/ }).click();
  const rotated = await stored();
  for (const secret of [rotated, credential]) assert.equal(await stage.auth(secret, namespace), 200);
  await page.getByRole("heading", { name: "Two secrets work" }).waitFor();
  stage.step("rotated");

  await link("Team");
  await page.getByRole("link", { name: "Add a person…" }).click();
  await page.getByLabel("Name of the person or service").fill("bob");
  await page.getByRole("button", { name: /Check and create/ }).click();
  await page.getByRole("button", { name: "Create the key" }).click();
  await page.getByText(/Give it to bob/).waitFor();
  assert(!(await page.content()).includes("doctl"), "a control key opens no namespace");
  const control = await stored();
  stage.step("a person");
  const theirs = await stage.page();
  await stage.signIn(theirs, control);
  await theirs.getByRole("navigation").getByRole("link", { name: "Create a key" }).click();
  await theirs.getByLabel("Name", { exact: true }).fill("desk of bob");
  await theirs.getByRole("button", { name: /Check and create/ }).click();
  await theirs.getByRole("button", { name: "Create the key" }).click();
  const desk = (await theirs.locator("#credential").textContent()).trim();
  assert.equal(await stage.auth(desk, namespace), 200);
  await theirs.getByText("I have stored it").click();
  stage.step("their key");

  await link("Team");
  await page.getByRole("link", { name: "bob", exact: true }).click();
  await page.getByRole("link", { name: "Leaves the team…" }).click();
  await page.getByText("2 keys").first().waitFor();
  stage.step("what stops when they leave");
  await page.getByLabel(/^Type/).fill("bob");
  await page.getByRole("button", { name: /Remove bob/ }).click();
  await page.getByText("bob has left acme").waitFor();
  assert.notEqual(await stage.auth(desk, namespace), 200);
  assert.equal(await stage.auth(rotated, namespace), 200);
  stage.step("they have left");

  await link("Migration");
  await page.getByRole("heading", { name: "No shared credentials" }).waitFor();
  stage.importShared("acme", "guest", "--until", "30d");
  await stage.opens(SHARED, "guest");
  await link("Migration");
  await page.getByRole("link", { name: "Sunset of guest" }).click();
  const at = (days) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 16);
  await page.getByLabel("Sunset, in UTC").fill(at(20));
  await page.getByRole("button", { name: "Set the sunset" }).click();
  await page.getByText("The sunset of guest is set").waitFor();
  stage.step("a sunset");
  await page.getByRole("link", { name: "Cut off… guest" }).click();
  await page.getByLabel(/^Type/).fill("guest");
  await page.getByRole("button", { name: "Cut off now" }).click();
  await page.getByText("guest is cut off").waitFor();
  assert.notEqual(await stage.auth(SHARED, "guest"), 200);
  stage.step("cut off");
  await page.getByRole("button", { name: "Undo the cut-off", exact: true }).click();
  await page.getByText("The cut-off of guest is undone").waitFor();
  assert.equal(await stage.auth(SHARED, "guest"), 200);
  stage.step(`undone: all six screens after ${Date.now() - stage.began} ms`);

  const weight = await stage.page();
  let bytes = 0;
  const network = await weight.context().newCDPSession(weight);
  await network.send("Network.enable");
  network.on("Network.loadingFinished", (event) => { bytes += event.encodedDataLength; });
  await stage.go(weight, "/session");
  await weight.waitForLoadState("networkidle");
  await stage.screen(weight, "sign-in");
  assert(bytes > 20_000 && bytes < 150_000, `the first page weighs ${bytes} bytes`);
  stage.step(`the first page weighs ${bytes} bytes`);
};
