// Ten thousand keys: pages, search, and how long they take.
import { assert } from "../stage.mjs";

export default async (stage) => {
  const alice = await stage.control("acme", "user:alice", "team:admin");
  await stage.until(alice, 200);
  const page = await stage.page();
  await stage.signIn(page, alice);
  await stage.go(page, "/keys?whose=everybody");
  await page.getByText(/50 keys on this page/).waitFor();
  await stage.screen(page, "many");
  await page.getByRole("link", { name: "Next page" }).click();
  await page.waitForURL(/cursor=/);
  await page.getByRole("searchbox").fill("worker 9876");
  await page.getByText("1 key found").waitFor();
  await page.getByRole("link", { name: "worker 9876", exact: true }).waitFor();
  const times = [];
  for (let at = 0; at < 20; at++) {
    const start = performance.now();
    await page.evaluate(() => fetch("/keys?whose=everybody").then((answer) => answer.text()));
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  stage.step(`a page of ten thousand keys: median ${times[10].toFixed(1)} ms, longest ${times[19].toFixed(1)} ms`);
};
