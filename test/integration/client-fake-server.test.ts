import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { createClient, type Client, type ClientOptions } from 'ai-canvas-ws/client'
import { FakeServer, startFakeServer } from '../support/fake-server.js'
import type { Message } from '../support/ws-client.js'

interface Heard { server: FakeServer, client: Client, notes: unknown[], gaps: unknown[], next: (type: string) => Promise<Message> }

/** A connected client of session `s` that reconnects within milliseconds. */
async function start (t: Test, options: ClientOptions = {}, server?: FakeServer): Promise<Heard> {
  server ??= await startFakeServer(t)
  const client = createClient({ url: server.url, sessionId: 's', WebSocket, reconnectInterval: 5, ...options })
  t.teardown(() => { client.close() })
  const notes: unknown[] = []
  const gaps: unknown[] = []
  client.on('note', ({ n }) => { notes.push(n) })
  client.on('gap', (gap) => { gaps.push(gap) })
  const next = (type: string): Promise<Message> => new Promise((resolve) => { const stop = client.on(type as 'message', (event) => { stop(); resolve(event) }) })
  client.connect()
  if (server.refuse === undefined && !server.stall) await next('open')
  return { server, client, notes, gaps, next }
}

/** When this message arrives, everything that was sent before has arrived. */
async function sync ({ server, next }: Heard): Promise<void> {
  const synced = next('synced')
  server.publish('s', { type: 'synced' })
  await synced
}

t.test('messages arrive in order and once', async (t) => {
  const heard = await start(t)
  for (let n = 0; n < 100; n++) heard.server.publish('s', { type: 'note', n })
  await sync(heard)
  t.same(heard.notes, Array.from({ length: 100 }, (_, n) => n))
})

t.test('duplicate messages from the server are emitted once', async (t) => {
  const heard = await start(t)
  heard.server.copies = 2
  for (let n = 0; n < 10; n++) heard.server.publish('s', { type: 'note', n })
  await sync(heard)
  t.same(heard.notes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

t.test('reordered messages are put in order and lost ones are recovered', async (t) => {
  const heard = await start(t)
  const { server, notes } = heard
  server.swap = true
  server.publish('s', { type: 'note', n: 1 })
  server.publish('s', { type: 'note', n: 2 })
  await server.until(() => server.received.some(({ type }) => type === 'subscribe'))
  server.swap = false
  server.lose('s', { type: 'note', n: 3 })
  server.publish('s', { type: 'note', n: 4 })
  await sync(heard)
  t.same([notes, heard.gaps], [[1, 2, 3, 4], []])
})

t.test('a client that is disconnected repeatedly misses nothing', async (t) => {
  const heard = await start(t)
  const { server, client, notes } = heard
  for (let n = 0; n < 50; n++) {
    server.publish('s', { type: 'note', n })
    if (n % 10 === 5) {
      const back = heard.next('open')
      server.cut()
      server.publish('s', { type: 'note', n: n + 0.5 })
      await back
    }
  }
  await sync(heard)
  t.same(notes, Array.from({ length: 50 }, (_, n) => n % 10 === 5 ? [n, n + 0.5] : [n]).flat())
  t.same([client.metrics.reconnects, heard.gaps], [5, []])
})

t.test('a restart with a new epoch is a gap, and a running job is lost', async (t) => {
  const heard = await start(t)
  const { server, client, next } = heard
  const begun = next('ai_start')
  server.publish('s', { type: 'ai_start', jobId: 'j', task: {} })
  await begun
  const lost = next('ai_error')
  server.restart()
  t.match(await lost, { jobId: 'j', error: { type: 'lost' } })
  t.same(heard.gaps, [{ sessionId: 's', reason: 'restarted' }])
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'error')
  server.publish('s', { type: 'note', n: 1 })
  await sync(heard)
  t.same(heard.notes, [1])
})

t.test('the client gives up on an unresponsive server and reconnects', async (t) => {
  const server = await startFakeServer(t)
  server.stall = true
  const { client, next } = await start(t, { connectTimeoutMs: 20 }, server)
  await server.until(() => server.handshakes.length === 3)
  server.stall = false
  await next('open')
  t.equal(client.state, 'connected')
})

t.test('after a permanent refusal the client stays disconnected; after a temporary one it retries until admitted', async (t) => {
  const server = await startFakeServer(t)
  server.refuse = { code: 4500, reason: 'Bad request: userId' }
  const refused = await start(t, {}, server)
  t.match(await refused.next('close'), { code: 4500, reason: 'Bad request: userId', wasConnected: false })
  t.same([refused.client.state, refused.client.reason, server.handshakes.length], ['closed', 'refused', 1])

  server.refuse = { code: 1011, reason: 'Server error' }
  const { next } = await start(t, {}, server)
  await server.until(() => server.handshakes.length === 4)
  server.refuse = undefined
  await next('open')
})

t.test('each attempt uses a fresh token', async (t) => {
  const server = await startFakeServer(t)
  let n = 0
  const { next } = await start(t, { getToken: async () => `token ${++n}` }, server)
  const back = next('open')
  server.cut()
  await back
  const tokens = server.handshakes.map(({ protocols }) => Buffer.from(protocols[1]!.slice('ai-canvas.token.'.length), 'base64url').toString())
  t.same(tokens, ['token 1', 'token 2'])
})

t.test('an address without a server is retried until the attempts are used up', async (t) => {
  const server = new FakeServer()
  await server.listen()
  const { url } = server
  await server.close()
  const client = createClient({ url, WebSocket, reconnectInterval: 1, maxReconnectAttempts: 3 })
  const ended = new Promise<void>((resolve) => { client.on('state', ({ state }) => { if (state === 'closed') resolve() }) })
  client.connect()
  await ended
  t.same([client.reason, client.metrics.reconnectAttempts], ['attempts', 3])
})

t.test('closing while connecting causes no error', async (t) => {
  const server = await startFakeServer(t)
  const client = createClient({ url: server.url, WebSocket })
  client.connect()
  client.close()
  t.equal(client.state, 'closed')
})
