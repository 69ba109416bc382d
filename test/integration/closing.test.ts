import { createHook } from 'node:async_hooks'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { startApp } from '../support/app.js'
import { runScript } from '../support/child.js'
import { RawClient, type RawFrame } from '../support/raw-client.js'
import { connect, open } from '../support/ws-client.js'

const withWebsocket = (app: FastifyInstance): unknown => app.register(fastifyWebsocket, { options: { maxPayload: 1024 } })

/** A close frame: its code, followed by its reason. */
function closeOf ({ first, payload }: RawFrame): { first: number, code: number, reason: string } {
  return { first, code: payload.readUInt16BE(0), reason: payload.toString('utf8', 2) }
}

const restart = { first: 0x88, code: 1012, reason: 'Server restart' }

/** Long enough to differ from an immediate close on a busy machine, and from ws's own 30 seconds. */
const CLOSE_TIMEOUT_MS = 400
const FAR_TOO_LONG_MS = 20_000

async function msOf (work: PromiseLike<unknown>): Promise<number> {
  const since = performance.now()
  await work
  return performance.now() - since
}

for (const [order, prepare] of [['we registered @fastify/websocket', undefined], ['the app had registered it before', withWebsocket]] as const) {
  t.test(`every connection is closed with 1012 when ${order}`, async (t) => {
    const { app, url } = await startApp(t, {}, {}, prepare)
    const clients = await Promise.all(['', '?userId=u1', '?sessionId=s1', '?userId=u1&sessionId=s1'].map((query) => connect(t, url(query))))
    await app.close()
    for (const client of clients) t.same(await client.closed, { code: 1012, reason: 'Server restart' })
    t.match(app.wsManager.getMetrics(), { totalConnections: 0, closes: { restart: 4 } })
  })

  t.test(`a peer that never answers the close frame delays nothing beyond the deadline when ${order}`, async (t) => {
    const { app, url } = await startApp(t, { closeTimeoutMs: CLOSE_TIMEOUT_MS }, {}, prepare)
    const silent = new RawClient(t, url('?sessionId=s1'))
    await silent.frame()
    const client = await connect(t, url('?sessionId=s1'))
    const ms = await msOf(app.close())
    t.ok(ms >= CLOSE_TIMEOUT_MS - 1 && ms < FAR_TOO_LONG_MS, `${ms} ms`)
    t.same(closeOf(await silent.frame()), restart)
    await silent.closed
    t.match(await client.closed, { code: 1012 }, 'the others are closed as usual')
  })
}

t.test('neither does a peer that reads nothing while much data is waiting for it', async (t) => {
  const bytes = 64 * 1024 * 1024
  const { app, url } = await startApp(t, { closeTimeoutMs: CLOSE_TIMEOUT_MS, delivery: { maxOutboxBytes: bytes } })
  const deaf = new RawClient(t, url('?sessionId=s1'))
  await deaf.frame()
  deaf.socket.pause()
  for (let sent = 0; sent < bytes / 2; sent += 1024 * 1024) {
    await app.wsManager.broadcastToSession('s1', { type: 'filler', text: 'x'.repeat(1024 * 1024) })
    await turn()
  }
  t.ok(app.wsManager.getMetrics().bufferedAmount > 1024 * 1024)
  const ms = await msOf(app.close())
  t.ok(ms >= CLOSE_TIMEOUT_MS - 1 && ms < FAR_TOO_LONG_MS, `${ms} ms`)
  t.match(app.wsManager.getMetrics(), { totalConnections: 0, bufferedAmount: 0 })
})

t.test('a close while many clients connect at once leaves none of them waiting', async (t) => {
  const { app, url } = await startApp(t)
  let upgrades = 0
  const arriving = new Promise<void>((resolve) => {
    // A leftover listener would count as a server.
    const count = (): void => { if (++upgrades === 60) resolve(void app.server.off('upgrade', count)) }
    app.server.on('upgrade', count)
  })
  const clients = Array.from({ length: 200 }, () => open(t, url('?sessionId=s1')))
  await arriving
  const ms = await msOf(app.close())
  t.ok(ms < FAR_TOO_LONG_MS, `${ms} ms`)
  const codes = new Set((await Promise.all(clients.map(({ closed }) => closed))).map(({ code }) => code))
  t.ok(codes.delete(1012), 'clients that were connected or connecting are notified')
  t.same([...codes].filter((code) => code !== 1006), [], 'the others never connected')
  t.equal(app.wsManager.getMetrics().totalConnections, 0)
})

t.test('messages accepted before close arrive before the close frame', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?userId=u1&sessionId=s1'))
  for (let n = 0; n < 300; n++) void app.wsManager.notifyAIProgress('s1', { chunksReceived: n, text: 'x'.repeat(n * 10) })
  void app.wsManager.notifyAIComplete('s1', { chunks: 300 })
  void app.wsManager.broadcastToUser('u1', { type: 'note' })
  app.wsManager.createBatcher('s1', { intervalMs: 3_600_000 }).push({ n: 1 })
  await app.close()
  for (let n = 0; n < 300; n++) {
    const { progress } = await client.next() as unknown as { progress: { chunksReceived: number } }
    if (progress.chunksReceived !== n) t.fail(`${progress.chunksReceived} instead of ${n}`)
  }
  t.match([await client.next(), await client.next(), await client.next()], [{ type: 'ai_complete' }, { type: 'note' }, { type: 'batch_update', messages: [{ n: 1 }] }])
  t.same(client.waiting, [])
  t.match(await client.closed, { code: 1012 })
})

t.test('a slow consumer receives its backlog and then the close frame', async (t) => {
  const count = 24
  const { app, url } = await startApp(t, { closeTimeoutMs: FAR_TOO_LONG_MS, delivery: { maxOutboxBytes: 64 * 1024 * 1024 } })
  const client = await connect(t, url('?sessionId=s1'))
  client.ws.pause()
  for (let n = 0; n < count; n++) await app.wsManager.broadcastToSession('s1', { type: 'filler', n, text: 'x'.repeat(1024 * 1024) })
  await turn()
  t.ok(app.wsManager.getMetrics().bufferedAmount > 1024 * 1024, 'it is behind')
  const closing = app.close()
  client.ws.resume()
  for (let n = 0; n < count; n++) t.equal((await client.next()).n, n)
  t.match(await client.closed, { code: 1012 })
  await closing
})

t.test('connections that are still being authenticated are closed with 1012 too', async (t) => {
  const signals: AbortSignal[] = []
  const { app, url } = await startApp(t, {
    closeTimeoutMs: CLOSE_TIMEOUT_MS,
    authenticate: (_request, { signal }) => {
      signals.push(signal)
      return new Promise(() => { /* never settles */ })
    },
    authorize: true
  })
  const client = open(t, url())
  const silent = new RawClient(t, url())
  await Promise.all([once(client.ws, 'open'), silent.answer])
  const ms = await msOf(app.close())
  t.ok(ms >= CLOSE_TIMEOUT_MS - 1 && ms < FAR_TOO_LONG_MS, `${ms} ms`)
  t.same(await client.closed, { code: 1012, reason: 'Server restart' })
  t.same(closeOf(await silent.frame()), restart)
  await silent.closed
  t.same(signals.map(({ aborted }) => aborted), [true, true])
  t.same(client.received, [])
})

t.test('while the app closes no client is admitted, and none that tries delays it', async (t) => {
  const { app, url } = await startApp(t, { closeTimeoutMs: CLOSE_TIMEOUT_MS })
  const silent = new RawClient(t, url())
  await silent.frame()
  const closing = app.close()
  t.same(closeOf(await silent.frame()), restart)
  const late = new RawClient(t, url())
  t.match(await late.answer, /^HTTP\/1\.1 503 /)
  t.ok(await msOf(closing) < FAR_TOO_LONG_MS)
  await late.closed
})

t.test('an upgrade that the app\'s own hooks hold until it closes is closed with 1012 and delays nothing', async (t) => {
  const held: Array<() => void> = []
  const { app, url } = await startApp(t, { closeTimeoutMs: CLOSE_TIMEOUT_MS }, {}, (app) => {
    app.addHook('onRequest', async (request) => {
      if (request.url.includes('late')) await new Promise<void>((resolve) => { held.push(resolve) })
    })
  })
  const silent = new RawClient(t, url())
  await silent.frame()
  const late = open(t, url('?userId=late'))
  const silentAndLate = new RawClient(t, url('?userId=silent-and-late'))
  while (held.length < 2) await turn()
  const closing = app.close()
  t.same(closeOf(await silent.frame()), restart)
  for (const letIn of held) letIn()
  t.same(await late.closed, { code: 1012, reason: 'Server restart' })
  t.same(closeOf(await silentAndLate.frame()), restart)
  t.ok(await msOf(closing) < FAR_TOO_LONG_MS)
  t.same(late.received, [], 'it was never admitted')
})

t.test('closing twice has the same effect as closing once', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url())
  await Promise.all([app.close(), app.close()])
  await app.close()
  t.match(await client.closed, { code: 1012 })
})

/** The number of listeners for each event. */
function listeners (emitter: NodeJS.EventEmitter): Record<string, number> {
  return Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]))
}

/** The listeners on the server of an app without plugins. */
async function live (): Promise<Record<string, number>> {
  const app = Fastify()
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.close()
  return listeners(app.server)
}

t.test('no timer, socket or listener is left', async (t) => {
  // Includes unreferenced timers, which the list of active resources omits.
  const timers = new Map<number, string>()
  const hook = createHook({
    init: (id, type) => { if (type === 'Timeout') timers.set(id, new Error(type).stack!) },
    destroy: (id) => { timers.delete(id) }
  })
  for (let turns = 0; turns < 5; turns++) await turn()
  const before = process.getActiveResourcesInfo().sort()
  const processBefore = listeners(process)
  hook.enable()

  const { app, url } = await startApp(t, {
    heartbeatIntervalMs: 300, closeTimeoutMs: 100, authorize: true,
    authenticate: (request) => {
      const { userId = 'u1' } = request.query as { userId?: string }
      return userId === 'never' ? new Promise(() => { /* pending until the app closes */ }) : { userId, expiresAt: Date.now() + 3_600_000 }
    }
  })
  const clients = await Promise.all(Array.from({ length: 5 }, (_, n) => connect(t, url(`?sessionId=s${n}`))))
  const pending = open(t, url('?userId=never'))
  const silent = new RawClient(t, url('?sessionId=s0'))
  await silent.frame()
  await once(clients[0]!.ws, 'ping')
  app.wsManager.createBatcher('s0').push({ n: 1 })
  const { server, websocketServer } = app
  await Promise.all([app.close(), ...[...clients, pending].map(({ closed }) => closed), silent.closed])
  for (let turns = 0; turns < 5; turns++) await turn()
  hook.disable()

  t.same([...timers.values()], [])
  t.same(process.getActiveResourcesInfo().sort(), before)
  t.same(listeners(process), processBefore)
  t.same(listeners(websocketServer), {})
  t.equal(websocketServer.clients.size, 0)
  t.same(listeners(server), await live())
})

t.test('a process exits by itself after its app was closed', async (t) => {
  const child = runScript(t, new URL('../support/scripts/closes.ts', import.meta.url))
  t.equal(await child.next(), 'closed with 1012')
  t.match(await child.exited, { code: 0, stderr: '' })
})

t.test('the heartbeat alone does not keep a process alive', async (t) => {
  const child = runScript(t, new URL('../support/scripts/idle.ts', import.meta.url))
  t.equal(await child.next(), 'ready')
  t.match(await child.exited, { code: 0, stderr: '' })
})
