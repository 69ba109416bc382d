import t from 'tap'
import type { ClientOptions } from '../../../lib/client/options.js'
import { clientOn, connected, FakePage, settled, toldOf, type FakeSocket } from '../../support/fake-page.js'
import type { Message } from '../../support/ws-client.js'

// Errors about failed attempts to connect.

const call = (handler: unknown, event: object): void => { (handler as (event: object) => void)(event) }

/** Fails the attempt like an environment that provides the cause. */
function fail (socket: FakeSocket, event: object, code = 1006): void {
  call(socket.onerror, event)
  call(socket.onclose, { code, reason: '' })
}

function failedWith (event: object, options: ClientOptions = {}): Message {
  const page = new FakePage()
  const client = clientOn(page, options)
  client.connect()
  fail(page.socket, event)
  return toldOf(client, 'error')[0]!
}

t.test('the error contains the URL and the cause', async (t) => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' })
  t.match(failedWith({ error: refused, message: refused.message }), {
    code: 'connection_failed', message: 'no connection to wss://app.example/ws: 1006 connect ECONNREFUSED 127.0.0.1:1', cause: refused
  })
  t.match(failedWith({ error: new Error('Unexpected server response: 404') }, { url: 'ws://x.example/wss' }), {
    message: 'no connection to ws://x.example/wss: 1006 Unexpected server response: 404'
  })
  const both = Object.assign(new AggregateError([refused, refused]), { code: 'ECONNREFUSED' })
  t.match(failedWith({ error: both, message: '' }), { message: /ws: 1006 ECONNREFUSED$/, cause: both }, 'for a host with two addresses')
  t.match(failedWith({ message: 'TLS' }), { message: /ws: 1006 TLS$/ }, 'if there is only a message')
  t.match(failedWith({}), { message: 'no connection to wss://app.example/ws: 1006' }, 'as in browsers')
})

t.test('the error contains no password, query or token', async (t) => {
  const url = 'wss://me:secret@x.example/ws?token=secret&tenant=secret'
  const { message } = failedWith({ error: new Error(`Invalid URL: ${url}`) }, { url, userId: 'secret', sessionId: 'secret' })
  t.equal(message, 'no connection to wss://x.example/ws: 1006 Invalid URL: wss://x.example/ws')
  t.match(failedWith({}, { url: '/ws?token=secret#secret' }), { message: 'no connection to wss://app.example/ws: 1006' })

  const page = new FakePage()
  Object.assign(page, { WebSocket: function (url: string) { throw new SyntaxError(`The URL '${url}' is invalid.`) } })
  const client = clientOn(page, { url: 'x://y/?token=secret' })
  client.connect()
  t.match(toldOf(client, 'error'), [{ code: 'connection_failed', message: 'the WebSocket can\'t be opened: The URL \'x://y/\' is invalid.', cause: SyntaxError }])
  t.same([client.state, client.reason], ['closed', 'refused'])
})

t.test('the error contains the server\'s reason, or the client\'s own', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { connectTimeoutMs: 1000 })
  client.connect()
  page.socket.end(1013, 'Try again later')
  client.connect()
  page.clock.advance(1000)
  t.same(toldOf(client, 'error').map(({ message }) => String(message)), [
    'no connection to wss://app.example/ws: 1013 Try again later',
    'no connection to wss://app.example/ws: 1006 no answer in time'
  ])
})

t.test('a cause belongs to its own attempt', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  fail(page.socket, { error: new Error('first') })
  page.clock.advance(1500)
  page.socket.end()
  t.match(toldOf(client, 'error'), [{ message: /first/ }, { message: /1006$/, cause: undefined }])
})

t.test('an error before the first attempt has no URL', async (t) => {
  const client = clientOn(new FakePage(), { getToken: () => { throw new Error('no') } })
  client.connect()
  await settled()
  t.match(toldOf(client, 'error'), [{ code: 'token_failed' }, { message: 'no connection to the server: 1006 no token' }])
})

t.test('the end of an established connection is not a `connection_failed` error', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  fail(page.socket, { error: new Error('ECONNRESET') })
  t.same(toldOf(client, 'error'), [])
})

t.test('an error without a close ends an attempt (as in Node.js 22), but not a connection', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  const error = new Error('Received network error or non-101 status code.')
  client.connect()
  call(page.socket.onerror, { error })
  t.equal(client.state, 'connecting', 'a close may follow')
  page.clock.advance(0)
  t.match(toldOf(client, 'error'), [{ message: `no connection to wss://app.example/ws: 1006 ${error.message}`, cause: error }])
  t.same([client.state, page.socket.closedWith], ['waiting', 1000])

  const there = connected(page)
  call(page.socket.onopen, {})
  call(page.socket.onerror, { error })
  page.clock.advance(100)
  t.equal(there.state, 'connected')
})

t.test('a close without a code counts as 1006, as in Deno', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  fail(page.socket, { message: 'failed to connect' }, 0)
  t.match(toldOf(client, 'close'), [{ code: 1006 }])
})
