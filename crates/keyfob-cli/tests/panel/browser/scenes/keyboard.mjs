// A key is created, rotated and revoked with the keyboard alone, and one always sees where one is.
import { assert } from "../stage.mjs";

export default async (stage) => {
  stage.namespace("acme", "orders");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  await stage.until(alice, 200);
  const page = await stage.page();
  const press = async (key) => { await page.keyboard.press(key); };
  // Goes on with Tab until this has the focus, which must be seen.
  const reach = async (target) => {
    for (let n = 0; n < 100; n++) {
      if (await target.evaluate((element) => element === document.activeElement)) {
        const seen = await target.evaluate((element) => {
          const around = element.closest("label") ?? element;
          return [element, around].some((one) => {
            const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
            return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
          });
        });
        assert(seen, `the focus of ${target} is not seen`);
        return;
      }
      await press("Tab");
    }
    assert.fail(`${target} cannot be reached`);
  };
  await stage.go(page, "/session");
  await reach(page.getByLabel("Control key"));
  await page.keyboard.insertText(alice);
  await press("Enter");
  await page.getByRole("heading", { name: "My keys" }).waitFor();
  stage.step("signed in");
  // The first stop leads past the navigation.
  await reach(page.getByRole("link", { name: "Skip to the content" }));
  await press("Enter");
  await reach(page.getByRole("link", { name: "Create a key" }).last());
  await press("Enter");
  await page.getByRole("heading", { name: "Create a key" }).waitFor();
  await reach(page.getByLabel("Name", { exact: true }));
  await page.keyboard.insertText("by keyboard");
  await reach(page.getByRole("radio", { name: /^90 days/ }));
  await press("ArrowUp");
  assert(await page.getByRole("radio", { name: /^60 days/ }).isChecked());
  await reach(page.getByRole("button", { name: /Check and create/ }));
  await press("Space");
  await page.getByRole("heading", { name: "Check the new key" }).waitFor();
  await reach(page.getByRole("button", { name: "Create the key" }));
  await press("Enter");
  await page.locator("#credential").waitFor();
  const credential = (await page.locator("#credential").textContent()).trim();
  assert.equal(await stage.auth(credential, "orders"), 200);
  await reach(page.getByRole("link", { name: "I have stored it" }));
  await press("Enter");
  await page.getByRole("heading", { name: "by keyboard" }).waitFor();
  stage.step("created");

  await reach(page.getByRole("link", { name: "Rotate…" }));
  await press("Enter");
  await page.getByRole("heading", { name: "Rotate by keyboard" }).waitFor();
  await reach(page.getByRole("radio", { name: /^1 hour/ }));
  await press("ArrowUp");
  await press("ArrowUp");
  assert(await page.getByRole("radio", { name: /^Now/ }).isChecked());
  await reach(page.getByRole("button", { name: /Rotate and show/ }));
  await press("Space");
  await page.getByText("The old secret has stopped working").waitFor();
  const rotated = (await page.locator("#credential").textContent()).trim();
  assert.notEqual(await stage.auth(credential, "orders"), 200);
  assert.equal(await stage.auth(rotated, "orders"), 200);
  await reach(page.getByRole("link", { name: "I have stored it" }));
  await press("Enter");
  stage.step("rotated");

  await page.getByRole("heading", { name: "by keyboard" }).waitFor();
  await reach(page.getByRole("button", { name: "Revoke…" }));
  await press("Enter");
  await page.getByRole("heading", { name: "Revoke by keyboard?" }).waitFor();
  await reach(page.getByLabel(/^Type/));
  await page.keyboard.insertText("by keyboard");
  await reach(page.getByRole("button", { name: "Revoke for good" }));
  await press("Space");
  await page.getByText("by keyboard is revoked").waitFor();
  assert.notEqual(await stage.auth(rotated, "orders"), 200);
  stage.step("revoked");
};
