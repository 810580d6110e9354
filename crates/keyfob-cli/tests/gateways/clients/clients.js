// Calls of the published clients, as their users make them. Prints a line for each check.

const openwhisk = require('openwhisk')
const runtime = require('@adobe/aio-lib-runtime')

const { APIHOST: apihost, KEY: key, OTHER: other } = process.env

async function check (name, call, holds) {
  let outcome
  try {
    outcome = { answer: await call() }
  } catch (error) {
    outcome = { status: error.statusCode ?? error.sdkDetails?.statusCode, message: String(error.message).slice(0, 300) }
  }
  console.log(holds(outcome) ? `ok ${name}` : `${name}: ${JSON.stringify(outcome)}`)
}

const arrived = ({ answer }) => typeof answer?.seen === 'number'
const refused = status => outcome => outcome.status === status || outcome.message?.includes(String(status))

async function calls (name, client, stranger, nobody) {
  await check(`${name} invoke`, () => client.actions.invoke({ name: 'x', blocking: true, params: { a: 1 } }), arrived)
  await check(`${name} get`, () => client.actions.get({ name: 'x' }), arrived)
  await check(`${name} update`, () => client.actions.update({ name: 'x', action: 'function main () {}' }), arrived)
  await check(`${name} triggers`, () => client.triggers.invoke({ name: 'x' }), arrived)
  await check(`${name} another's key`, () => stranger.actions.get({ name: 'x' }), refused(403))
  await check(`${name} wrong key`, () => nobody.actions.get({ name: 'x' }), refused(401))
}

async function main () {
  const wrong = key.split(':')[0] + ':x'
  const plain = (api_key, namespace) => openwhisk({ apihost, api_key, namespace })
  await calls('openwhisk', plain(key, '_'), plain(other, 'orders'), plain(wrong, '_'))
  const aio = (api_key, namespace) => runtime.init({ apihost, api_key, namespace, apiversion: 'v1', retry: { retries: 0 } })
  await calls('aio', await aio(key, '_'), await aio(other, 'orders'), await aio(wrong, '_'))
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
