// The published client for TypeScript.

import assert from "node:assert/strict";
import {
  createDigitalOceanClient,
  DigitalOceanApiKeyAuthenticationProvider,
} from "@digitalocean/dots";
import { FetchRequestAdapter } from "@microsoft/kiota-http-fetchlibrary";

const { KEYFOB_ENDPOINT, KEYFOB_TOKEN, KEYFOB_FOREIGN } = process.env;
const adapter = new FetchRequestAdapter(
  new DigitalOceanApiKeyAuthenticationProvider(KEYFOB_TOKEN),
);
adapter.baseUrl = KEYFOB_ENDPOINT;
const { namespaces } = createDigitalOceanClient(adapter).v2.functions;

const space = await namespaces.post({ label: "dots", region: "blr1" });
assert.equal(space.namespace.label, "dots");
const id = space.namespace.namespace;
const listed = await namespaces.get();
assert(listed.namespaces.some((one) => one.namespace === id && one.label === "dots"));

const { keys } = namespaces.byNamespace_id(id);
const made = await keys.post({ name: "laptop", expiresIn: "30d" });
const { accessKey } = made;
assert(accessKey.secret && accessKey.expiresAt instanceof Date);
const found = await keys.get();
assert.equal(found.count, 1);
assert.equal(found.accessKeys[0].id, accessKey.id);
const one = keys.byKey_id(accessKey.id);
const renamed = await one.put({ name: "desktop" });
assert.equal(renamed.accessKey.name, "desktop");
await assert.rejects(keys.post({ name: "desktop" }), (error) => error.id === "conflict");
await assert.rejects(
  namespaces.byNamespace_id(KEYFOB_FOREIGN).keys.get(),
  (error) => error.id === "not_found",
);
await one.delete();
await assert.rejects(one.delete(), (error) => error.id === "not_found");
await namespaces.byNamespace_id(id).delete();
