import t from 'tap'
import { createClient, type ClientOptions } from '../../../lib/client/index.js'
import { defaults, checkOptions, resolveOptions } from '../../../lib/client/options.js'
import { propertiesOf } from '../../docs/snippets.js'
import { clientOn, connected, FakePage, settled } from '../../support/fake-page.js'

const here = { WebSocket: undefined }
const names = propertiesOf('lib/client/options.ts', 'ClientOptions')
const resolve = (options: unknown): unknown => resolveOptions(options as ClientOptions, here)

t.test('an unknown option is an error that names the valid ones', async (t) => {
  for (const name of ['heartbeat', 'onMesage', 'token', 'userKey', 'URL', '']) {
    t.throws(() => resolve({ [name]: 'x' }), {
      name: 'ClientError', code: 'invalid_option', message: new RegExp(`^the option "${name}" is unknown: known options are (\\w+, ){15}\\w+$`)
    })
  }
  t.throws(() => createClient({ reconect: true } as ClientOptions), { code: 'invalid_option' })
  try {
    resolve({ x: 1 })
  } catch (error) {
    t.same((error as Error).message.replace(/.*known options are /, '').split(', ').sort(), names.sort())
  }
})

t.test('options that are `null` are ignored', async (t) => {
  const none = Object.fromEntries(names.map((name) => [name, null]))
  t.same(resolve(none), resolve({}))
  t.same(resolve(Object.fromEntries(names.map((name) => [name, undefined]))), resolve({}))
  t.same(resolve(null), { ...defaults, WebSocket: undefined })
  t.equal(createClient(null).userId, undefined)

  const page = new FakePage()
  const client = clientOn(page, none)
  client.connect()
  await settled()
  t.equal(page.socket.url.href, 'wss://app.example/ws')
  t.same([client.userId, page.socket.protocols], [undefined, ['ai-canvas.v1']])
  page.socket.admit()
  page.socket.end(1008)
  t.equal(client.reason, 'refused', '`getToken: null` does not provide a fresh token')
})

t.test('`null` never reaches a session id or a callback', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: null, onMessage: null, onOpen: null, onClose: null, onError: null, onGap: null })
  page.socket.say({ type: 'note' })
  page.socket.end(1011)
  t.same([client.state, page.reported, page.socket.sent], ['waiting', [], []])
})

t.test('a value of the wrong type is an error that names the expected type', async (t) => {
  const call = (): void => { /* Never called. */ }
  for (const [type, names, wrong] of [
    ['string', ['url', 'userId', 'sessionId'], [7, true, {}, call, new URL('ws://x')]],
    ['boolean', ['reconnect'], ['false', 0, {}]],
    ['function', ['getToken', 'WebSocket', 'onMessage', 'onOpen', 'onClose', 'onError', 'onGap'], ['x', 7, {}]],
    ['number', ['reconnectInterval', 'maxReconnectIntervalMs', 'maxReconnectAttempts', 'connectTimeoutMs', 'maxQueuedMessages'],
      ['3', 'x', '', NaN, -1, -Infinity, true, {}, 7n]]
  ] as const) {
    for (const name of names) {
      for (const value of wrong) {
        t.throws(() => resolve({ [name]: value }), { code: 'invalid_option', message: `the option "${name}" must be a valid ${type}` }, name)
      }
    }
  }
})

t.test('numbers may be 0, a fraction or Infinity', async (t) => {
  for (const value of [0, 0.5, 7, Infinity]) t.match(resolve({ reconnectInterval: value, maxReconnectAttempts: value }), { reconnectInterval: value, maxReconnectAttempts: value })
})

t.test('with Infinity for all numbers a client waits instead of reconnecting in a loop', async (t) => {
  const page = new FakePage()
  const client = connected(page, {
    reconnectInterval: Infinity, maxReconnectIntervalMs: Infinity, maxReconnectAttempts: Infinity, connectTimeoutMs: Infinity, maxQueuedMessages: Infinity
  })
  page.socket.end()
  page.clock.advance(10_000_000)
  t.same([client.state, page.sockets.length], ['waiting', 1])
})

t.test('checkOptions accepts a hook\'s own options if they are passed', async (t) => {
  t.same(checkOptions({ userKey: 'u', url: null }, { userKey: '' }), { userKey: 'u' })
  t.throws(() => checkOptions({ userkey: 'u' }, { userKey: '' }), { message: /, userKey$/ })
})
