// A page of another site tries to act in the user's name, and to show the panel in a frame.
import { createServer } from "node:http";
import { assert } from "../stage.mjs";

export default async (stage) => {
  stage.namespace("acme", "orders");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  const key = stage.key("acme", "orders", "user:alice", "target");
  await stage.until(alice, 200);
  await stage.opens(key, "orders");
  const path = `/keys/orders/${key.split(":")[0]}`;
  const site = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end(`<h1>evil</h1><iframe id="frame" src="${stage.url}/keys"></iframe>
      <a id="link" href="${stage.url}/keys/new?name=from%20a%20mail&life=30d">go</a>
      <form id="form" method="post" action="${stage.url}${path}/disable"><button>go</button></form>`);
  }).listen(0, "127.0.0.1");
  await new Promise((done) => site.once("listening", done));
  const port = site.address().port;
  const context = await stage.browser.newContext();
  const page = await context.newPage();
  await stage.signIn(page, alice);
  try {
    // The same machine by another name is another site; by another port it is the same site.
    for (const evil of [`http://127.0.0.1:${port}/`, `http://localhost:${port}/`]) {
      await page.goto(evil);
      const frame = page.frames().find((frame) => frame !== page.mainFrame());
      const shown = await frame.evaluate(() => document.body?.innerText ?? "").catch(() => "");
      assert(!/keys/i.test(shown), `framed: ${shown}`);
      const [response] = await Promise.all([page.waitForNavigation(), page.locator("#form button").click()]);
      assert.equal(response.status(), 403, evil);
      // A link is followed with the session, though its cookie is not sent from another site.
      await page.goto(evil);
      await page.locator("#link").click();
      await page.getByRole("heading", { name: "Create a key" }).waitFor();
      assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "from a mail");
      await page.goto(evil);
      const crossed = await page.evaluate(async ([url, path]) => {
        const answer = await fetch(`${url}${path}/disable`, { method: "POST", credentials: "include", mode: "no-cors" });
        return answer.type;
      }, [stage.url, path]).catch(() => "refused");
      assert.notEqual(crossed, "basic");
    }
    assert.equal(await stage.auth(key, "orders"), 200, "it was not disabled");
    // By hand, with the cookie and without what only the browser can say.
    const [cookie] = (await context.cookies(stage.url));
    const headers = { cookie: `${cookie.name}=${cookie.value}`, "content-type": "application/x-www-form-urlencoded" };
    for (const origin of [{}, { origin: "null" }, { origin: "http://evil.example" }, { "sec-fetch-site": "cross-site", origin: stage.url }]) {
      const answer = await fetch(`${stage.url}${path}/disable`, { method: "POST", headers: { ...headers, ...origin }, redirect: "manual" });
      assert.equal(answer.status, 403, JSON.stringify(origin));
    }
    assert.equal(await stage.auth(key, "orders"), 200);
    const answer = await fetch(`${stage.url}${path}/disable`, { method: "POST", headers: { ...headers, origin: stage.url }, redirect: "manual" });
    assert.equal(answer.status, 303);
    assert.notEqual(await stage.auth(key, "orders"), 200);
    const policy = (await fetch(`${stage.url}/session`)).headers.get("content-security-policy");
    for (const part of ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'", "require-trusted-types-for 'script'"]) assert(policy.includes(part), part);
    assert(!/unsafe/.test(policy));
  } finally {
    site.close();
  }
};
