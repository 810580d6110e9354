// A client from @hey-api/openapi-ts, whose own code is not written for exactOptionalPropertyTypes.

import assert from "node:assert/strict";
import { client } from "./hey-api/client.gen.js";
import {
  createKey,
  createNamespace,
  deleteKey,
  listKeys,
  previewMember,
  removeMember,
  rotateKey,
  showCaller,
  showKey,
  type AccessKey,
  type Error as Refusal,
} from "./hey-api/index.js";

const { KEYFOB_ENDPOINT, KEYFOB_TOKEN } = process.env;
assert(KEYFOB_ENDPOINT && KEYFOB_TOKEN);
client.setConfig({ baseUrl: KEYFOB_ENDPOINT, auth: KEYFOB_TOKEN });

const caller = await showCaller();
assert(caller.data?.rights.includes("team:admin"));
const space = await createNamespace({ body: { label: "hey", region: "blr1" } });
assert(space.data);
const namespace_id = space.data.namespace.namespace;

const body = { name: "laptop", owner: "user:hannah" };
const made = await createKey({ path: { namespace_id }, body });
assert(made.data);
const { id: key_id, secret } = made.data.access_key;
const listed = await listKeys({ path: { namespace_id }, query: { status: "active" } });
const keys: AccessKey[] = listed.data?.access_keys ?? [];
assert.deepEqual(keys.map((key) => [key.id, key.owner]), [[key_id, "user:hannah"]]);
const rotated = await rotateKey({ path: { namespace_id, key_id } });
assert(rotated.data && rotated.data.access_key.secret !== secret);

const member = { team_id: "acme", kind: "members", name: "hannah" } as const;
const preview = await previewMember({ path: member });
assert(preview.data);
const removed = await removeMember({ path: member, body: { reason: "left" } });
assert.equal(removed.response?.status, 200);
const shown = await showKey({ path: { namespace_id, key_id } });
assert.equal(shown.data?.access_key.revocation?.cause, "owner");
const deleted = await deleteKey({ path: { namespace_id, key_id } });
assert.equal(deleted.response?.status, 200);
const gone = await showKey({ path: { namespace_id, key_id } });
const refusal: Refusal | undefined = gone.error;
assert.equal(refusal?.id, "not_found");
