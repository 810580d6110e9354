// What a page could do if a name were HTML: the policy stops it, and the run notices.
import { assert } from "../stage.mjs";

export default async (stage) => {
  const caught = async (name, attack) => {
    const page = await stage.page();
    await stage.go(page, "/session");
    await page.evaluate(attack).catch(() => {});
    await page.waitForTimeout(200);
    assert.equal(await page.evaluate(() => window.broken), undefined, `${name} ran`);
    const seen = stage.faults.splice(0);
    assert(seen.some((fault) => /CSP-VIOLATION|violates|Trusted/.test(fault)), `${name} was not noticed: ${seen}`);
    assert.throws(() => { stage.faults = seen; stage.check(); });
    stage.faults = [];
    stage.step(`${name}: ${seen[0].slice(0, 160)}`);
  };
  await caught("an inline script", () => {
    const script = document.createElement("script");
    script.append(document.createTextNode("window.broken = 1"));
    document.body.append(script);
  });
  await caught("an inline style", () => document.body.setAttribute("style", "color: red"));
  await caught("HTML from a text", () => { document.body.innerHTML = "<img src=x onerror='window.broken = 1'>"; });
  await caught("a picture of another host", () => { new Image().src = "http://127.0.0.1:9/x.png"; });
  await caught("a call of another host", () => fetch("http://127.0.0.1:9/x").catch(() => {}));
  await caught("a form to another host", () => {
    const form = document.createElement("form");
    form.action = "http://127.0.0.1:9/x";
    form.method = "post";
    document.body.append(form);
    form.submit();
  });
};
