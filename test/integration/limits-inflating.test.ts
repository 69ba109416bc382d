import type { Socket } from 'node:net'
import { constants, deflateRawSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, Identity } from 'ai-canvas-ws'
import { deferred } from '../examples/support/deferred.js'
import { startApp, type StartedApp } from '../support/app.js'
import { clientFrame, CLOSE, CONTINUATION, FIN, PING, readClose, TEXT, textFrame } from '../support/client-frames.js'
import { RawClient } from '../support/raw-client.js'
import { until } from '../support/until.js'
import { connect } from '../support/ws-client.js'

const RSV1 = 0x40
const extensions = 'permessage-deflate; client_no_context_takeover'
/** Nothing more is read from a client whose connection is closing, except what Node.js reads ahead. */
const MOST_READ_WHILE_CLOSING = 1024 * 1024 + 3 * 64 * 1024

/** The text as the payload of a compressed frame (RFC 7692, section 7.2.1). */
function deflated (text: string): Buffer {
  return deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
}

function deflatedFrame (message: object): Buffer {
  return clientFrame(FIN | RSV1 | TEXT, deflated(JSON.stringify(message)))
}

/** About 60 KiB as a message, and 100 bytes as a frame. */
const bomb = deflatedFrame({ type: 'mine', filling: 'x'.repeat(60_000) })

interface Gated extends StartedApp {
  /** The server's ends of all connections, in order of arrival. */
  sockets: Socket[]
  admit: (identity?: Identity | null) => void
  /** Fires when a client disconnects before admission. */
  signal: () => AbortSignal | undefined
  messages: Array<Record<string, unknown>>
}

/** An app whose clients wait for admission until the test decides. */
async function startGated (t: Test, options: AiCanvasWsOptions = {}): Promise<Gated> {
  const verdict = deferred<Identity | null>()
  const [sockets, messages]: [Socket[], Array<Record<string, unknown>>] = [[], []]
  let signal: AbortSignal | undefined
  const started = await startApp(t, {
    authenticate: (_request, context) => {
      signal = context.signal
      return verdict.promise
    },
    authorize: true,
    onMessage: (message) => { messages.push(message) },
    websocket: { maxPayload: 64 * 1024 },
    ...options
  }, {}, (app) => { app.server.on('connection', (socket: Socket) => { sockets.push(socket) }) })
  return { ...started, sockets, messages, signal: () => signal, admit: (identity = {}) => { verdict.resolve(identity) } }
}

async function nextMessage (peer: RawClient): Promise<Record<string, unknown>> {
  return JSON.parse((await peer.frame()).payload.toString()) as Record<string, unknown>
}

async function nextClose (peer: RawClient): Promise<{ code: number, reason: string }> {
  for (;;) {
    const frame = await peer.frame()
    if (frame.first === (FIN | CLOSE)) return readClose(frame)
  }
}

t.test('nothing is inflated before admission', async (t) => {
  const gated = await startGated(t, { limits: { burst: 1e6 } })
  const peer = new RawClient(t, gated.url(), { extensions })
  t.match(await peer.answer, /permessage-deflate/)
  const count = Math.floor(60_000 / bomb.length)
  const before = process.memoryUsage()
  peer.socket.write(Buffer.concat(Array.from({ length: count }, () => bomb)))
  const socket = gated.sockets[0]!
  await until(() => socket.isPaused())
  const after = process.memoryUsage()
  const grown = after.external + after.arrayBuffers + after.heapUsed - before.external - before.arrayBuffers - before.heapUsed
  t.ok(grown < 8 * 1024 * 1024, `${count} messages of 60 KB cost ${grown} bytes`)
  gated.admit()
  await until(() => gated.messages.length === count)
  t.ok(gated.messages.every(({ filling }) => (filling as string).length === 60_000), 'after admission nothing is missing')
})

t.test('compressed and plain messages, whole and fragmented, arrive in order, however the network splits them', async (t) => {
  const whole = deflated(JSON.stringify({ type: 'mine', at: 2 }))
  const bytes = Buffer.concat([
    deflatedFrame({ type: 'mine', at: 0 }),
    textFrame({ type: 'mine', at: 1 }),
    clientFrame(RSV1 | TEXT, whole.subarray(0, 5)),
    clientFrame(FIN | PING, 'a ping'),
    clientFrame(CONTINUATION, whole.subarray(5, 10)),
    clientFrame(FIN | CONTINUATION, whole.subarray(10)),
    deflatedFrame({ type: 'mine', at: 3 }),
    textFrame({ type: 'mine', at: 4 }),
    deflatedFrame({ type: 'mine', at: 5 })
  ])
  const early = await startGated(t)
  const late = await startGated(t)
  late.admit()
  for (const [gated, size] of [[early, bytes.length], [late, bytes.length], [late, 7]] as const) {
    gated.messages.length = 0
    const peer = new RawClient(t, gated.url(), { extensions })
    await peer.answer
    if (gated === late) t.match(await nextMessage(peer), { type: 'connection' })
    for (let at = 0; at < bytes.length; at += size) {
      peer.socket.write(bytes.subarray(at, at + size))
      await new Promise(setImmediate)
    }
    if (gated === early) gated.admit()
    await until(() => gated.messages.length === 6)
    t.same(gated.messages.map(({ at }) => at), [0, 1, 2, 3, 4, 5])
  }
})

t.test('data that arrives with the upgrade request is held too', async (t) => {
  const gated = await startGated(t)
  const peer = new RawClient(t, gated.url(), { extensions })
  // Most likely in the same segment as the request's headers.
  peer.socket.write(Buffer.concat([bomb, bomb]))
  await peer.answer
  await until(() => gated.sockets[0]!.bytesRead > 2 * bomb.length)
  await connectionsOf(gated)
  t.same(gated.messages, [])
  gated.admit()
  await until(() => gated.messages.length === 2)
})

/** Lets turns of the event loop with I/O pass. */
async function connectionsOf ({ app }: StartedApp): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise<void>((resolve) => { app.server.getConnections(() => { setImmediate(resolve) }) })
}

t.test('a client that leaves before admission is noticed', async (t) => {
  const ways: Record<string, (peer: RawClient) => unknown> = {
    'with a close frame behind messages': (peer) => {
      peer.socket.write(Buffer.concat([bomb, textFrame('x'), clientFrame(FIN | CLOSE, Buffer.from([3, 232])), bomb]))
    },
    'with a close frame in pieces': async (peer) => {
      for (const byte of clientFrame(FIN | CLOSE, Buffer.from([3, 232]))) {
        peer.socket.write(Buffer.from([byte]))
        await new Promise(setImmediate)
      }
    },
    'without a close frame': (peer) => { peer.socket.end(bomb) },
    'at once': (peer) => { peer.socket.destroy() }
  }
  for (const [way, leave] of Object.entries(ways)) {
    const gated = await startGated(t)
    const peer = new RawClient(t, gated.url(), { extensions })
    await peer.answer
    await until(() => gated.signal() !== undefined)
    void leave(peer)
    await until(() => gated.signal()!.aborted)
    if (way.startsWith('with a close')) t.same(readClose(await peer.frame()), { code: 1000, reason: '' }, `${way}: its close is answered`)
    gated.admit()
    await peer.closed
    await connectionsOf(gated)
    t.same(gated.messages, [], `${way}: its messages are not handled`)
    t.equal(gated.app.wsManager.getStats().totalConnections, 0)
  }
})

t.test('an invalid frame is detected after admission', async (t) => {
  const gated = await startGated(t)
  const peer = new RawClient(t, gated.url())
  await peer.answer
  peer.socket.write(clientFrame(FIN | 0x3, 'reserved'))
  gated.admit()
  t.match(await nextClose(peer), { code: 1002 })
  peer.socket.write(bomb)
  peer.socket.end()
  await peer.closed
  t.same(gated.messages, [])
})

t.test('after rate_limited nothing is inflated or handled, and the close frame is still read', async (t) => {
  const gated = await startGated(t, { limits: { burst: 5, messagesPerSecond: 0.001 }, closeTimeoutMs: 60_000 })
  gated.admit()
  const peer = new RawClient(t, gated.url(), { extensions })
  await peer.answer
  peer.socket.write(Buffer.concat(Array.from({ length: 600 }, () => bomb)))
  t.match(await nextClose(peer), { code: 4001 })
  t.equal(gated.messages.length, 5)
  const { messagesReceived } = gated.app.wsManager.getMetrics()
  t.equal(messagesReceived, 6, 'data that was read together with the message above the limit is not inflated either')
  peer.socket.write(Buffer.concat([bomb, clientFrame(FIN | PING, 'x'), bomb]))
  t.equal(gated.app.wsManager.getStats().totalConnections, 1)
  peer.socket.write(clientFrame(FIN | CLOSE, Buffer.from([0x0f, 0xa1])))
  await peer.closed
  await until(() => gated.app.wsManager.getStats().totalConnections === 0)
  t.equal(gated.app.wsManager.getMetrics().messagesReceived, messagesReceived)
})

t.test('the same holds for every close by the server', async (t) => {
  const closes: Record<string, (gated: Gated) => unknown> = {
    4502: ({ app }) => app.wsManager.revoke('u'),
    1012: ({ app }) => { void app.close() }
  }
  for (const [code, close] of Object.entries(closes)) {
    const gated = await startGated(t, { closeTimeoutMs: 1_000 })
    gated.admit({ userId: 'u' })
    const peer = new RawClient(t, gated.url(), { extensions })
    t.match(await nextMessage(peer), { type: 'connection' })
    // The beginning of a message whose rest may still come.
    const started = textFrame({ type: 'mine', filling: 'x'.repeat(1_000) })
    peer.socket.write(started.subarray(0, 500))
    await until(() => gated.sockets[0]!.bytesRead > 500)
    await close(gated)
    t.match(await nextClose(peer), { code: Number(code) })
    peer.socket.write(Buffer.concat([started.subarray(500), bomb, bomb, clientFrame(FIN | CLOSE, Buffer.from([3, 232]))]))
    await peer.closed
    t.same(gated.messages, [], `${code}: nothing is handled`)
  }
})

t.test('a client that keeps sending to a closing connection is not read any further, and terminated in time', async (t) => {
  for (const first of [bomb, clientFrame(FIN | 0x3, 'reserved')]) {
    const gated = await startGated(t, { limits: { burst: 1 }, closeTimeoutMs: 300 })
    gated.admit()
    const peer = new RawClient(t, gated.url(), { extensions })
    t.match(await nextMessage(peer), { type: 'connection' })
    peer.socket.write(Buffer.concat([first, first]))
    await nextClose(peer)
    const socket = gated.sockets[0]!
    const before = socket.bytesRead
    const flood = Buffer.concat(Array.from({ length: 1_000 }, () => bomb))
    for (let i = 0; i < 200; i++) peer.socket.write(flood)
    await peer.closed
    t.ok(socket.bytesRead - before <= MOST_READ_WHILE_CLOSING, `it read ${socket.bytesRead - before} bytes of ${200 * flood.length}`)
    t.ok(gated.messages.length <= 1)
    await until(() => gated.app.wsManager.getStats().totalConnections === 0)
  }
})

t.test('injectWS: messages sent before admission are handled after it', async (t) => {
  const gated = await startGated(t)
  await gated.app.injectWS('/ws', {}, {
    onOpen: (ws) => {
      ws.ping()
      ws.pong()
      for (let at = 0; at < 10; at++) ws.send(JSON.stringify({ type: 'mine', at }))
    }
  })
  await connectionsOf(gated)
  t.same(gated.messages, [])
  gated.admit()
  await until(() => gated.messages.length === 10)
  t.same(gated.messages.map(({ at }) => at), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

t.test('an update of ws that reads the socket in another way is detected', async (t) => {
  const gated = await startGated(t)
  gated.admit()
  const client = await connect(t, gated.url())
  t.same(await client.sync(), [])
  t.equal(gated.sockets[0]!.listenerCount('data'), 1, 'only the intake')
})
