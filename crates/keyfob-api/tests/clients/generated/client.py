"""A client from openapi-python-client, checked by `mypy --strict`."""

import os

from keyfob_client import AuthenticatedClient
from keyfob_client.api.access_keys import (
    create_key,
    delete_key,
    list_keys,
    revoke_key,
    rotate_key,
    show_key,
    update_key,
)
from keyfob_client.api.namespaces import create_namespace, delete_namespace
from keyfob_client.models import (
    CreatedKey,
    CreateKey,
    CreateNamespace,
    Error,
    KeyList,
    ReasonBody,
    RotateKey,
    ShownKey,
    ShownNamespace,
    UpdateKey,
)

endpoint = os.environ["KEYFOB_ENDPOINT"]
foreign = os.environ["KEYFOB_FOREIGN"]
client = AuthenticatedClient(base_url=endpoint, token=os.environ["KEYFOB_TOKEN"])
stranger = AuthenticatedClient(base_url=endpoint, token="nobody")

space = create_namespace.sync(client=client, body=CreateNamespace(label="typed", region="blr1"))
assert isinstance(space, ShownNamespace), space
namespace = space.namespace.namespace

new = CreateKey(name="laptop", expires_in="90d")
made = create_key.sync(namespace, client=client, body=new, idempotency_key="one")
assert isinstance(made, CreatedKey), made
key, secret = made.access_key.id, made.access_key.secret
assert made.access_key.expires_at is not None

listed = list_keys.sync(namespace, client=client)
assert isinstance(listed, KeyList), listed
assert [one.name for one in listed.access_keys] == ["laptop"]

renamed = update_key.sync(namespace, key, client=client, body=UpdateKey(name="desktop"))
assert isinstance(renamed, ShownKey), renamed

# With a body, of which every field may be left out, and without any.
rotated = rotate_key.sync(namespace, key, client=client, body=RotateKey(grace_seconds=60))
assert isinstance(rotated, CreatedKey), rotated
assert rotated.access_key.secret != secret
again = rotate_key.sync(namespace, key, client=client)
assert isinstance(again, CreatedKey), again
assert again.access_key.previous_secret_until is None

revoked = revoke_key.sync(namespace, key, client=client, body=ReasonBody(reason="over"))
assert isinstance(revoked, ShownKey), revoked
revocation = revoked.access_key.revocation
assert revocation is not None and revocation.reason == "over"

for answer, kind in [
    (create_key.sync(namespace, client=client, body=CreateKey(name="x", expires_in="1m")), "bad_request"),
    (rotate_key.sync(namespace, key, client=client), "conflict"),
    (list_keys.sync(foreign, client=client), "not_found"),
    (show_key.sync(namespace, key, client=stranger), "unauthorized"),
]:
    assert isinstance(answer, Error), answer
    assert answer.id == kind, answer

deleted = delete_key.sync_detailed(namespace, key, client=client)
assert deleted.status_code == 200
removed = delete_namespace.sync_detailed(namespace, client=client)
assert removed.status_code == 204
