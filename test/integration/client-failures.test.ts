import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { createClient, type ClientError, type ClientOptions } from 'ai-canvas-ws/client'
import { startApp } from '../support/app.js'

// The errors of a client in Node.js that can't connect, with real sockets.

/** Returns the errors of a client until its first attempt has ended, and whether it connected. */
async function attempt (t: Test, options: ClientOptions): Promise<{ errors: ClientError[], connected: boolean }> {
  const client = createClient({ WebSocket, reconnect: false, ...options })
  t.teardown(() => { client.close() })
  const errors: ClientError[] = []
  client.on('error', (error) => { errors.push(error) })
  const ended = new Promise<void>((resolve) => {
    client.on('state', ({ state }) => { if (state === 'connected' || state === 'closed') resolve() })
  })
  client.connect()
  await ended
  // The error event comes after the state event.
  await new Promise((resolve) => { setImmediate(resolve) })
  return { errors, connected: client.state === 'connected' }
}

t.test('no server listens', async (t) => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  const { errors: [error] } = await attempt(t, { url: `ws://127.0.0.1:${port}/ws?token=secret`, userId: 'u' })
  t.match(error, { code: 'connection_failed', cause: { code: 'ECONNREFUSED' } })
  t.equal(error!.message, `no connection to ws://127.0.0.1:${port}/ws: 1006 connect ECONNREFUSED 127.0.0.1:${port}`)
  const { errors: [both] } = await attempt(t, { url: `ws://localhost:${port}/ws` })
  t.match(both!.message, /ECONNREFUSED/, 'at any of the host\'s addresses')
})

t.test('the path is wrong', async (t) => {
  const { origin } = await startApp(t)
  const { errors } = await attempt(t, { url: `${origin}/other` })
  t.match(errors, [{ message: `no connection to ${origin}/other: 1006 Unexpected server response: 404`, cause: Error }])
})

t.test('the URL is invalid', async (t) => {
  const { errors } = await attempt(t, { url: 'ftp://x.example/ws?token=secret' })
  t.match(errors, [{ code: 'connection_failed', message: /^the WebSocket can't be opened: / }])
  t.notMatch(errors[0]!.message, /secret/)
})

t.test('a token that is too large for a header: a warning comes first, and a server that accepts it admits the client', async (t) => {
  const getToken = (): string => 'x'.repeat(20_000)
  const { url } = await startApp(t)
  const refused = await attempt(t, { url: url(), getToken })
  t.match(refused.errors, [{ code: 'token_too_large', message: /header of 26\d{3} bytes/ }, { code: 'connection_failed', message: /Unexpected server response: 431$/ }])
  t.notOk(refused.connected)

  const larger = { logger: false, http: { maxHeaderSize: 65_536 } }
  const patient = await startApp(t, {}, larger)
  const taken = await attempt(t, { url: patient.url(), getToken })
  t.match(taken.errors.map(({ code }) => code), ['token_too_large'])
  t.ok(taken.connected)
})
