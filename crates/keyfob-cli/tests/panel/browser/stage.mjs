// A browser, the program's command line, and what every page is checked for.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const SHARED = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
export { assert };

export class Stage {
  static async open(world) {
    const stage = new Stage();
    Object.assign(stage, world, { faults: [], pages: [], steps: [], began: Date.now(), widths: [320] });
    stage.profile = mkdtempSync(join(tmpdir(), "keyfob-browser-"));
    stage.browser = await chromium.launch({
      executablePath: world.chromium,
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        // A name that is not this machine's for a browser, at this machine.
        "--host-resolver-rules=MAP keys.example 127.0.0.1"],
    });
    return stage;
  }

  async close() {
    writeFileSync(join(this.pictures, "steps.txt"), this.steps.map((step) => `${step}\n`).join(""));
    await this.browser.close();
    rmSync(this.profile, { recursive: true, force: true });
  }

  // Runs the program on the server's store, as another process; `input` is its standard input.
  keyfob(...args) {
    return execFileSync(this.program, args, { cwd: this.folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  // Creates a namespace with this name.
  namespace(team, name) {
    this.keyfob("namespaces", "create", name, "--team", team);
  }

  // Creates a control key and returns its text.
  async control(team, owner, ...scopes) {
    const answer = await fetch(`${this.url}/v2/functions/namespaces/control:${team}/keys`, {
      method: "POST", headers: { authorization: `Bearer ${this.operator}`, "content-type": "application/json" },
      body: JSON.stringify({ name: `panel of ${owner}`, owner, scopes }),
    });
    assert.equal(answer.status, 201);
    const { access_key: key } = await answer.json();
    return `${key.id}:${key.secret}`;
  }

  key(team, namespace, who, name, ...more) {
    return this.keyfob("keys", "create", name, "-n", namespace, "--team", team, "--owner", who, ...more).trim();
  }

  // Waits until the server accepts or refuses a credential.
  async until(credential, status) {
    const end = Date.now() + 30_000;
    for (;;) {
      const answer = await fetch(`${this.url}/v1/caller`, { headers: { authorization: `Bearer ${credential}` } });
      if (answer.status === status) return;
      assert(Date.now() < end, `still ${answer.status}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  // Whether a key opens a namespace: the status of /auth.
  async auth(credential, namespace) {
    const basic = `Basic ${Buffer.from(credential).toString("base64")}`;
    const answer = await fetch(`${this.proxy}/auth/${namespace}`, { headers: { authorization: basic } });
    return answer.status;
  }

  // Waits until a key that another process made opens its namespace.
  async opens(credential, namespace) {
    const end = Date.now() + 30_000;
    while (await this.auth(credential, namespace) !== 200) {
      assert(Date.now() < end, "the key does not work");
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  // A page in a window of its own.
  async page(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB", reducedMotion: "reduce",
      timezoneId: "Europe/Berlin", ...options });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: this.url }).catch(() => {});
    if (options.javaScriptEnabled !== false) {
      await context.addInitScript({ content: axe });
      await context.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`CSP-VIOLATION ${event.violatedDirective} ${event.blockedURI} ${event.sample}`)));
    }
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    this.pages.push(page);
    page.on("console", (message) => {
      const text = message.text();
      if (message.type() === "error" && !/Failed to load resource/.test(text)) this.faults.push(`${page.url()}: ${text}`);
    });
    page.on("pageerror", (error) => this.faults.push(`${page.url()}: ${error}`));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(this.url) && !/^(data|about|blob|chrome-error):/.test(url)) this.faults.push(`foreign host: ${url}`);
    });
    page.on("response", (response) => {
      if (response.status() >= 500) this.faults.push(`${response.url()}: ${response.status()}`);
    });
    return page;
  }

  async go(page, path) {
    const response = await page.goto(this.url + path);
    return response;
  }

  async signIn(page, credential) {
    await this.go(page, "/session");
    await page.getByLabel("Control key").fill(credential);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
  }

  step(text) {
    const seconds = ((Date.now() - this.began) / 1000).toFixed(1);
    const step = `${seconds.padStart(6)} s  ${text}`;
    this.steps.push(step);
    console.log(step);
  }

  // Imports OpenWhisk's public example as a shared credential of a namespace, as another process.
  importShared(team, namespace, ...more) {
    const [uuid, key] = SHARED.split(":");
    const file = join(this.folder, "subjects.jsonl");
    writeFileSync(file, `${JSON.stringify({ _id: "guest", subject: "guest", namespaces: [{ name: namespace, uuid, key }] })}\n`);
    this.keyfob("legacy", "import", "subjects.jsonl", "--team", team, ...more);
  }

  // Asserts that the newest event of the team's trail is this one, as the page shows it, and goes back.
  async audited(page, who, what) {
    const back = page.url();
    await this.go(page, "/audit");
    const row = page.getByRole("row").nth(1);
    const [text, shown] = [await row.innerText(), await row.getByRole("cell").nth(1).innerText()];
    assert(text.includes(what), `the trail has ${text}, not ${what}`);
    assert.equal(shown.trim(), who, text);
    await page.goto(back);
  }

  // Makes so many requests with a credential that the next one is refused.
  async exhaust(credential) {
    const headers = { authorization: `Bearer ${credential}` };
    for (let n = 0; n < 1_000; n++) {
      const answer = await fetch(`${this.url}/v1/caller`, { headers });
      if (answer.status === 429) return;
    }
    assert.fail("the quota does not end");
  }

  // Does something while a credential has no requests left: those that it is given back meanwhile are used up.
  async whileExhausted(credential, act) {
    await this.exhaust(credential);
    let over = false;
    const using = (async () => {
      while (!over) {
        await this.exhaust(credential);
        await new Promise((done) => setTimeout(done, 10));
      }
    })();
    try {
      await act();
    } finally {
      over = true;
      await using;
    }
  }

  // Checks what every screen must be, and keeps pictures of it.
  async screen(page, name) {
    assert.equal(await page.locator("h1").count(), 1, `${name}: one h1`);
    const results = await page.evaluate(async () => {
      const found = await window.axe.run(document, { resultTypes: ["violations"], preload: false });
      return found.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((n) => n.html.slice(0, 200)).join(" | ")}`);
    });
    assert.deepEqual(results, [], `${name}: accessibility`);
    await page.screenshot({ path: `${this.pictures}/${name}.png`, fullPage: true, caret: "initial" });
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await page.evaluate(async () => {
      const found = await window.axe.run(document, { runOnly: ["color-contrast"] });
      return found.violations.flatMap((one) => one.nodes.map((n) => `${n.html.slice(0, 150)} ${n.failureSummary}`));
    });
    assert.deepEqual(dark, [], `${name}: contrast in the dark`);
    await page.screenshot({ path: `${this.pictures}/${name}-dark.png`, fullPage: true, caret: "initial" });
    await page.emulateMedia({ colorScheme: "light" });
    const size = page.viewportSize();
    await page.setViewportSize({ width: 320, height: 800 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert(overflow <= 0, `${name}: ${overflow} px too wide at 320 px`);
    await page.screenshot({ path: `${this.pictures}/${name}-320.png`, fullPage: true, caret: "initial" });
    await page.setViewportSize(size);
    this.step(`screen ${name}`);
  }

  // Checks the accessibility of a page without script: of a copy, in a window where the checker can run.
  async plain(page, name) {
    assert.equal(await page.locator("h1").count(), 1, `${name}: one h1`);
    const html = (await page.content()).replace(/<script\b[^>]*>.*?<\/script>/gs, "");
    const storageState = await page.context().storageState();
    const context = await this.browser.newContext({ viewport: page.viewportSize(), reducedMotion: "reduce", storageState });
    await context.addInitScript({ content: axe });
    const copy = await context.newPage();
    await copy.route(page.url(), (route) => route.fulfill({ contentType: "text/html; charset=utf-8", body: html }));
    await copy.goto(page.url());
    const results = await copy.evaluate(async () => {
      const found = await window.axe.run(document, { resultTypes: ["violations"], preload: false });
      return found.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((n) => n.html.slice(0, 200)).join(" | ")}`);
    });
    await context.close();
    assert.deepEqual(results, [], `${name}: accessibility without script`);
    await page.screenshot({ path: `${this.pictures}/${name}.png`, fullPage: true });
    this.step(`screen ${name} without script`);
  }

  // Fails if a page broke its policy, threw, or asked another host.
  check() {
    assert.deepEqual(this.faults, []);
  }

  // Keeps pictures of what was there when a step failed.
  async mourn() {
    for (const [at, page] of this.pages.entries()) {
      await page.screenshot({ path: `${this.pictures}/failed-${at}.png`, fullPage: true, caret: "initial" }).catch(() => {});
      console.error(`page ${at}: ${page.url()}`);
    }
    for (const fault of this.faults) console.error(fault);
  }
}
