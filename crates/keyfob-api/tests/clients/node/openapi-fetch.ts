// A client from openapi-typescript and openapi-fetch.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const { KEYFOB_ENDPOINT, KEYFOB_TOKEN, KEYFOB_FOREIGN } = process.env;
assert(KEYFOB_ENDPOINT && KEYFOB_TOKEN && KEYFOB_FOREIGN);
const client = createClient<paths>({
  baseUrl: KEYFOB_ENDPOINT,
  headers: { Authorization: `Bearer ${KEYFOB_TOKEN}` },
});
const SPACES = "/v2/functions/namespaces";
const KEYS = `${SPACES}/{namespace_id}/keys` as const;

const space = await client.POST(SPACES, { body: { label: "typed", region: "blr1" } });
assert(space.data, JSON.stringify(space.error));
const namespace_id = space.data.namespace.namespace;
assert.equal(space.data.namespace.label, "typed");

const params = { path: { namespace_id } };
const made = await client.POST(KEYS, {
  params: { ...params, header: { "Idempotency-Key": "one" } },
  body: { name: "laptop", expires_in: "90d", labels: { stage: "test" } },
});
assert(made.data, JSON.stringify(made.error));
assert.equal(made.response.status, 201);
const secret: string = made.data.access_key.secret;
const expiry: string | null = made.data.access_key.expires_at;
assert(secret && expiry);
const key_id = made.data.access_key.id;
const one = { path: { namespace_id, key_id } };

const listed = await client.GET(KEYS, { params: { ...params, query: { limit: 10 } } });
const keys: components["schemas"]["AccessKey"][] = listed.data?.access_keys ?? [];
assert.deepEqual(keys.map((key) => key.name), ["laptop"]);
assert.equal(listed.data?.next_cursor, null);

const ONE = `${KEYS}/{key_id}` as const;
const renamed = await client.PUT(ONE, { params: one, body: { name: "desktop" } });
assert.equal(renamed.data?.access_key.name, "desktop");
const etag = renamed.response.headers.get("etag");
assert(etag);

// With a body, of which every field may be left out, and without any.
const rotated = await client.POST(`${ONE}/rotate`, {
  params: { ...one, header: { "If-Match": etag } },
  body: { grace_seconds: 60 },
});
assert(rotated.data && rotated.data.access_key.secret !== secret);
const again = await client.POST(`${ONE}/rotate`, { params: one });
assert(again.data && again.data.access_key.previous_secret_until === null);
const disabled = await client.POST(`${ONE}/disable`, { params: one });
assert.equal(disabled.data?.access_key.status, "disabled");
const revoked = await client.POST(`${ONE}/revoke`, { params: one, body: { reason: "over" } });
assert.equal(revoked.data?.access_key.revocation?.reason, "over");

// Every refusal is typed.
const stale = await client.PUT(ONE, {
  params: { ...one, header: { "If-Match": etag } },
  body: { name: "late" },
});
const refused: components["schemas"]["Error"] | undefined = stale.error;
assert(refused && ["precondition_failed", "conflict"].includes(refused.id));
const foreign = await client.GET(KEYS, { params: { path: { namespace_id: KEYFOB_FOREIGN } } });
assert.equal(foreign.error?.id, "not_found");
const wrong = await client.POST(KEYS, { params, body: { name: "x", expires_in: "1m" } });
assert.equal(wrong.error?.id, "bad_request");
const stranger = await client.GET(SPACES, { headers: { Authorization: "Bearer nobody" } });
assert.equal(stranger.error?.id, "unauthorized");
assert(stranger.response.headers.get("www-authenticate"));

const deleted = await client.DELETE(ONE, { params: one });
assert.equal(deleted.response.status, 200);
const removed = await client.DELETE(`${SPACES}/{namespace_id}`, { params });
assert.equal(removed.response.status, 204);
