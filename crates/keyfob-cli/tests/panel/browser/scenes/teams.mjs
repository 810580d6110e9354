// Two teams that never see each other; a member's view against an administrator's; an operator.
import { assert } from "../stage.mjs";

export default async (stage) => {
  stage.namespace("acme", "orders");
  stage.namespace("other", "secrets");
  const alice = await stage.control("acme", "user:alice", "team:admin");
  const bob = await stage.control("acme", "user:bob", "function:admin");
  const eve = await stage.control("other", "user:eve", "team:admin");
  const key = stage.key("acme", "orders", "user:alice", "alice's own");
  stage.key("other", "secrets", "user:eve", "eve's own");
  await stage.until(eve, 200);
  const path = `/keys/orders/${key.split(":")[0]}`;
  const admin = await stage.page();
  await stage.signIn(admin, alice);
  await stage.go(admin, "/keys?whose=everybody");
  await admin.getByRole("link", { name: "alice's own", exact: true }).waitFor();
  assert(!(await admin.content()).includes("user:eve"));

  const stranger = await stage.page();
  await stage.signIn(stranger, eve);
  for (const [place, status] of [[path, 404], [`${path}/rotate`, 404], ["/people/user:alice/leave", 404],
    ["/policies/orders", 404], ["/migration/orders", 404], ["/namespaces/orders/remove", 404]]) {
    const response = await stage.go(stranger, place);
    assert.equal(response.status(), status, place);
    assert(!(await stranger.content()).includes("alice's own"));
  }
  for (const place of ["/keys?whose=everybody", "/team", "/audit", "/expiring", "/leaks"]) {
    await stage.go(stranger, place);
    const text = await stranger.content();
    assert(!text.includes("alice") && !text.includes("acme"), place);
  }

  const member = await stage.page();
  await stage.signIn(member, bob);
  await stage.go(member, "/keys?whose=everybody");
  await member.getByRole("heading", { name: "No keys yet" }).or(member.getByRole("row", { name: /panel of/ })).first().waitFor();
  assert(!(await member.content()).includes("alice"));
  for (const name of ["Migration", "Audit", "Fleet"]) assert.equal(await member.getByRole("link", { name, exact: true }).count(), 0, name);
  assert.equal((await stage.go(member, path)).status(), 404);
  assert.equal((await stage.go(member, "/audit")).status(), 403);
  await stage.go(member, "/team");
  assert.equal(await member.getByText("Leaves…").count(), 0);
  await stage.screen(member, "team-of-a-member");
  await stage.go(admin, "/team");
  await admin.getByRole("link", { name: "Leaves… bob" }).waitFor();
  await stage.screen(admin, "team");

  // A person with a key in each of two teams works in both, with one session.
  const other = await stage.control("other", "user:alice", "team:admin");
  await stage.until(other, 200);
  await admin.getByRole("link", { name: "sign in to another team" }).click();
  await stage.screen(admin, "another-team");
  await admin.getByLabel("Control key").fill(other);
  await admin.getByRole("button", { name: "Sign in" }).click();
  await admin.getByRole("link", { name: "other", exact: true }).click();
  await admin.getByRole("heading", { name: "Your teams" }).waitFor();
  await stage.screen(admin, "two-teams");
  await admin.getByRole("button", { name: "Work in acme as user:alice" }).click();
  await admin.getByText("You work in the team acme now").waitFor();
  await stage.go(admin, path);
  await admin.getByRole("heading", { name: "alice's own" }).waitFor();

  const operator = await stage.page();
  await stage.signIn(operator, stage.operator);
  await stage.go(operator, "/team");
  await operator.getByLabel("Team to work in").selectOption("other");
  await operator.getByRole("button", { name: "Work in this team" }).click();
  await operator.getByText("You work in the team other now").waitFor();
  await stage.go(operator, "/keys");
  await operator.getByRole("link", { name: "eve's own", exact: true }).waitFor();
  await stage.screen(operator, "keys-of-a-team");
};
