// Calls a gateway with OpenWhisk's client and prints the outcomes as one line of JSON.
//
// KEYFOB_API_HOST   the address of the gateway, such as http://127.0.0.1:8080
// KEYFOB_API_KEY    the credential; not an argument, because arguments are visible to all users
// KEYFOB_NAMESPACE  the namespace to call

import openwhisk from 'openwhisk'

const { KEYFOB_API_HOST, KEYFOB_API_KEY, KEYFOB_NAMESPACE } = process.env
const client = openwhisk({
  apihost: KEYFOB_API_HOST,
  api_key: KEYFOB_API_KEY,
  namespace: KEYFOB_NAMESPACE
})

// Only the status of an error is printed: the rest contains the request with its header.
async function outcome (call) {
  try {
    return { value: await call }
  } catch (error) {
    return { statusCode: error.statusCode ?? null, code: error.error?.code ?? null }
  }
}

const name = 'echo'
const params = { greeting: 'hello', n: 1 }
const report = {
  result: await outcome(client.actions.invoke({ name, params, blocking: true, result: true })),
  activation: await outcome(client.actions.invoke({ name, params, blocking: true })),
  accepted: await outcome(client.actions.invoke({ name, params })),
  actions: await outcome(client.actions.list()),
  namespaces: await outcome(client.namespaces.list())
}
console.log(JSON.stringify(report))
