"""Makes the published calls with pydo, and prints what came of each as JSON."""

import json
import os
import warnings

from azure.core.exceptions import HttpResponseError
from pydo import Client

warnings.filterwarnings("ignore")
ENDPOINT = os.environ["KEYFOB_ENDPOINT"]
NAMESPACE = os.environ["KEYFOB_NAMESPACE"]


def client(token, **options):
    return Client(token=token, endpoint=ENDPOINT, **options)


def call(function, *arguments, **fields):
    """What a call gives, with the rate limit headers that pydo reads as integers."""
    headers = {}

    def note(_, body, read):
        headers.update(read)
        return body

    try:
        body = function(*arguments, cls=note, enforce_https=False, **fields)
    except HttpResponseError as error:
        return {"raised": error.status_code, "body": error.response.json()}
    limits = {name: headers[name] for name in headers if name.startswith("ratelimit-")}
    return {"body": body, "limits": limits}


keys = client(os.environ["KEYFOB_TOKEN"]).functions_access_key
functions = client(os.environ["KEYFOB_TOKEN"]).functions
report = {}

report["namespaces"] = call(functions.list_namespaces)
report["namespace"] = call(functions.create_namespace, {"label": "made by pydo", "region": "blr1"})
made = report["namespace"]["body"]["namespace"]["namespace"]
report["shown_namespace"] = call(functions.get_namespace, made)
report["deleted_namespace"] = call(functions.delete_namespace, made)

report["created"] = call(keys.create, NAMESPACE, {"name": "laptop", "expires_in": "90d"})
key = report["created"]["body"]["access_key"]["id"]
report["endless"] = call(keys.create, NAMESPACE, {"name": "endless"})
report["taken"] = call(keys.create, NAMESPACE, {"name": "laptop"})
report["too_short"] = call(keys.create, NAMESPACE, {"name": "short", "expires_in": "1m"})
report["nowhere"] = call(keys.create, "fn-of-nobody", {"name": "laptop"})
report["foreign"] = call(keys.list, os.environ["KEYFOB_FOREIGN"])
report["listed"] = call(keys.list, NAMESPACE)
report["updated"] = call(keys.update, NAMESPACE, key, {"name": "desktop"})
report["update_taken"] = call(keys.update, NAMESPACE, key, {"name": "endless"})
report["update_empty"] = call(keys.update, NAMESPACE, key, {"name": ""})
report["deleted"] = call(keys.delete, NAMESPACE, key)
report["deleted_again"] = call(keys.delete, NAMESPACE, key)
report["updated_again"] = call(keys.update, NAMESPACE, key, {"name": "gone"})

# A token that nobody has.
unknown = client(os.environ["KEYFOB_UNKNOWN"]).functions_access_key
report["unauthorized"] = call(unknown.list, NAMESPACE)
# Somebody who may ask twice.
slow = client(os.environ["KEYFOB_BUSY"], retry_total=0).functions_access_key
for _ in range(int(os.environ["KEYFOB_QUOTA"])):
    call(slow.list, NAMESPACE)
report["too_many"] = call(slow.list, NAMESPACE)

print(json.dumps(report))
