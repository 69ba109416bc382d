import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, Authenticate, Identity } from 'ai-canvas-ws'
import { deferred } from '../examples/support/deferred.js'
import { startApp, type StartedApp } from '../support/app.js'
import { textFrame } from '../support/client-frames.js'
import { RawClient } from '../support/raw-client.js'
import { until } from '../support/until.js'
import { connect, open, type TestClient } from '../support/ws-client.js'

/** The limit, plus what Node.js has read when it is exceeded: part of that read, and what it reads ahead of a paused stream. */
const MOST_TAKEN = 16 * 1024 + 3 * 64 * 1024
const noRoom = { code: 1013, reason: 'Try again later' }

interface Gated extends StartedApp {
  /** Admits the waiting clients with this identity. */
  admit: (identity?: Identity | null) => void
  /** The server's ends of all connections, in order of arrival. */
  sockets: Socket[]
}

/** Clients with `?wait` wait until the test decides about their identity; others are admitted immediately. */
async function startGated (t: Test, options: AiCanvasWsOptions = {}): Promise<Gated> {
  const verdict = deferred<Identity | null>()
  const sockets: Socket[] = []
  const authenticate: Authenticate = ({ query }) => 'wait' in (query as object) ? verdict.promise : {}
  const started = await startApp(t, { authenticate, authorize: true, ...options }, {}, (app) => {
    app.server.on('connection', (socket: Socket) => { sockets.push(socket) })
  })
  return { ...started, sockets, admit: (identity = {}) => { verdict.resolve(identity) } }
}

/** Lets many turns of the event loop with I/O pass, so that the server could do something wrong. */
async function manyTurns (other: TestClient): Promise<void> {
  for (let i = 0; i < 20; i++) await other.sync()
}

/** A peer that waits for admission, and the number of its WebSocket bytes that the server has read. */
async function waiting (t: Test, { url, sockets }: Gated): Promise<{ peer: RawClient, socket: Socket, taken: () => number }> {
  const peer = new RawClient(t, url('?wait'))
  await peer.answer
  const socket = sockets.at(-1)!
  const head = socket.bytesRead
  return { peer, socket, taken: () => socket.bytesRead - head }
}

t.test('before admission 16 KiB are read and the rest stays with the sender; afterwards nothing is missing', async (t) => {
  const count = 16 * 1024
  const seen: number[] = []
  const all = deferred()
  const gated = await startGated(t, {
    limits: { burst: 1e6 },
    onMessage: ({ at }) => {
      seen.push(at as number)
      if (seen.length === count) all.resolve()
    }
  })
  const other = await connect(t, gated.url())
  const { peer, taken } = await waiting(t, gated)
  const filling = 'x'.repeat(1024)
  for (let at = 0; at < count; at++) peer.socket.write(textFrame({ type: 'mine', at, filling }))
  await until(() => taken() > 16 * 1024)
  await manyTurns(other)
  t.ok(taken() <= MOST_TAKEN, `it read ${taken()} bytes of more than 16 MiB`)
  t.ok(peer.socket.writableLength > 0, 'the kernel\'s buffers are full, and the rest waits in the sender')
  t.same(seen, [])

  gated.admit()
  t.match(JSON.parse((await peer.frame()).payload.toString()), { type: 'connection' })
  await all.promise
  t.ok(seen.every((at, index) => at === index), 'in order')
})

t.test('a single long message is not read before admission either', async (t) => {
  const got = deferred<number>()
  const gated = await startGated(t, { onMessage: ({ filling }) => { got.resolve((filling as string).length) } })
  const other = await connect(t, gated.url())
  const { peer, taken } = await waiting(t, gated)
  peer.socket.write(textFrame({ type: 'mine', filling: 'x'.repeat(32 * 1024 * 1024) }))
  await until(() => taken() > 16 * 1024)
  await manyTurns(other)
  t.ok(taken() <= MOST_TAKEN, `it read ${taken()} bytes`)
  t.ok(peer.socket.writableLength > 0)
  gated.admit()
  t.equal(await got.promise, 32 * 1024 * 1024)
})

t.test('before admission at most 8 messages are read, however short', async (t) => {
  const gated = await startGated(t)
  const { peer, socket, taken } = await waiting(t, gated)
  const ping = textFrame({ type: 'ping' })
  for (let sent = 1; sent <= 8; sent++) {
    t.equal(socket.isPaused(), false, `${sent - 1} messages are within the limit`)
    peer.socket.write(ping)
    await until(() => taken() === sent * ping.length)
  }
  await until(() => socket.isPaused())
  peer.socket.write(Buffer.concat([ping, ping, ping]))
  gated.admit()
  for (const type of ['connection', ...Array.from({ length: 11 }, () => 'pong')]) {
    t.match(JSON.parse((await peer.frame()).payload.toString()), { type })
  }
})

t.test('messages sent before admission are answered after `connection`, in order', async (t) => {
  const gated = await startGated(t)
  const client = open(t, gated.url('?wait&sessionId=s0'))
  client.ws.on('open', () => {
    client.send({ type: 'subscribe', sessionId: 's1' })
    client.send({ type: 'ping' })
    client.send('nonsense')
    client.send({ type: 'unsubscribe', sessionId: 's1' })
    client.send({ type: 'subscribe', sessionId: 's2' })
    client.ws.send(Buffer.from('binary'))
    gated.admit()
  })
  for (const expected of [
    { type: 'connection', sessionId: 's0' }, { type: 'subscribed', sessionId: 's1' }, { type: 'pong' }, { type: 'error', code: 'invalid_json' },
    { type: 'unsubscribed', sessionId: 's1' }, { type: 'subscribed', sessionId: 's2' }, { type: 'error', code: 'binary_not_supported' }
  ]) t.match(await client.next(), expected)
  t.same(await client.sync(), [])
})

t.test('a flood before admission counts as a flood after it', async (t) => {
  const gated = await startGated(t)
  const client = open(t, gated.url('?wait'))
  client.ws.on('open', () => {
    for (let i = 0; i < 1000; i++) client.send({ type: 'ping' })
    gated.admit()
  })
  t.same(await client.closed, { code: 4001, reason: 'Rate limit exceeded' })
  const [first, ...others] = client.waiting
  t.match(first, { type: 'connection' })
  t.match(others.at(-1), { type: 'error', code: 'rate_limited' })
})

t.test('a client that is refused while it sends receives the close code, and is not terminated', async (t) => {
  const patient = { closeTimeoutMs: 50_000 }
  const plain = { perMessageDeflate: false }
  const talk = (client: TestClient): void => {
    client.ws.on('open', () => { for (let i = 0; i < 200; i++) client.send('x'.repeat(1024)) })
  }
  const gated = await startGated(t, patient)
  const stranger = open(t, gated.url('?wait'), plain)
  talk(stranger)
  await until(() => (gated.sockets[0]?.bytesRead ?? 0) > 16 * 1024)
  gated.admit(null)
  t.same(await stranger.closed, { code: 1008, reason: 'Unauthorized' })

  const full = await startApp(t, { ...patient, limits: { connections: 1 } })
  const first = await connect(t, full.url())
  const second = open(t, full.url(), plain)
  talk(second)
  t.same(await second.closed, noRoom)
  t.same(await first.sync(), [])

  const closing = await startGated(t, patient)
  const last = open(t, closing.url('?wait'), plain)
  talk(last)
  await until(() => (closing.sockets[0]?.bytesRead ?? 0) > 16 * 1024)
  await closing.app.close()
  t.same(await last.closed, { code: 1012, reason: 'Server restart' })
})

t.test('one connection above the limit is asked to come later; after one has left there is room', async (t) => {
  let asked = 0
  const { app, url } = await startApp(t, {
    authenticate: () => {
      asked++
      return {}
    },
    authorize: true,
    limits: { connections: 2 }
  })
  const [first] = await Promise.all([connect(t, url()), connect(t, url())])
  const third = open(t, url())
  t.same(await third.closed, noRoom)
  t.same(third.received, [])
  t.equal(asked, 2, 'authenticate is not called')
  t.match(app.wsManager.getMetrics(), { closes: { overCapacity: 1 }, totalConnections: 2 })
  await first.close()
  await until(() => app.wsManager.getStats().totalConnections === 1)
  await connect(t, url())
})

t.test('connections that wait for admission count, and those that leave while waiting don\'t', async (t) => {
  const { url, admit, app } = await startGated(t, { limits: { connections: 2 } })
  const [first, second] = [open(t, url('?wait')), open(t, url('?wait'))]
  await Promise.all([first, second].map((client) => new Promise((resolve) => { client.ws.on('open', resolve) })))
  t.same(await open(t, url()).closed, noRoom)
  first.ws.terminate()
  let admitted: TestClient | undefined
  await until(() => {
    // The server notices a disconnect with a delay. Until then it refuses others.
    if (admitted === undefined || admitted.ws.readyState === 3) admitted = open(t, url())
    return app.wsManager.getStats().totalConnections === 1
  })
  admit()
  t.match(await second.next(), { type: 'connection' })
})

t.test('the limit of connections per user applies when they connect at once, and to each user separately', async (t) => {
  const { app, url } = await startApp(t, {
    authenticate: async ({ query }) => {
      await Promise.resolve()
      return { userId: (query as { who: string }).who }
    },
    authorize: true,
    limits: { connectionsPerUser: 2 }
  })
  const clients = Array.from({ length: 5 }, () => open(t, url('?who=user_1')))
  const answers = await Promise.all(clients.map((client) => client.next().then(({ type }) => type, () => client.closed)))
  t.same(answers.filter((answer) => answer === 'connection').length, 2)
  t.same(answers.filter((answer) => answer !== 'connection'), [noRoom, noRoom, noRoom])
  t.match(app.wsManager.getMetrics().closes, { overCapacity: 3 })
  await connect(t, url('?who=user_2'))
  await clients[answers.indexOf('connection')]!.close()
  await until(() => app.wsManager.getStats({ userId: 'user_1' }).clients.length === 1)
  await connect(t, url('?who=user_1'))
})

t.test('connections without a user don\'t count as one user\'s', async (t) => {
  const { app, url } = await startApp(t, { limits: { connectionsPerUser: 1 } })
  await Promise.all([connect(t, url()), connect(t, url()), connect(t, url('?userId=undefined'))])
  t.equal(app.wsManager.getStats().totalConnections, 3)
})
