import { once } from 'node:events'
import { setImmediate as endOfTurn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, AppMessage } from 'ai-canvas-ws'
import { startApp, type StartedApp } from '../support/app.js'
import { readClose } from '../support/client-frames.js'
import { RawClient, type RawFrame } from '../support/raw-client.js'
import { until } from '../support/until.js'
import { connect } from '../support/ws-client.js'

const KiB = 1024
const TEXT = 0x81
/** What waits in the socket besides the outbox: what was written, and the message that did not fit any more. */
const IN_SOCKET = 64 * KiB
const MESSAGE = 32 * KiB
/** More than the kernel's buffers on both sides of a local connection can hold. */
const MUCH = 64 * KiB * KiB

const filler = (at: number): AppMessage => ({ type: 'filler', at, text: 'x'.repeat(MESSAGE - 200) })
const textOf = ({ payload }: RawFrame): Record<string, unknown> => JSON.parse(payload.toString()) as Record<string, unknown>

async function start (t: Test, options: AiCanvasWsOptions = {}): Promise<StartedApp & { metrics: FastifyInstance['wsManager']['getMetrics'] }> {
  const started = await startApp(t, { closeTimeoutMs: 50_000, ...options })
  return { ...started, metrics: () => started.app.wsManager.getMetrics() }
}

/** Reads the `connection` message, and nothing more until told to. */
async function connectDeaf (t: Test, url: string): Promise<RawClient> {
  const peer = new RawClient(t, url)
  await peer.frame()
  peer.socket.pause()
  return peer
}

/** Publishes one message per turn until the condition holds. Returns their number. */
async function publish (app: FastifyInstance, enough: () => boolean): Promise<number> {
  let at = 0
  for (; !enough(); at++) {
    if (at * MESSAGE > MUCH) throw new Error('the reader that reads nothing took all of it')
    await app.wsManager.broadcastToSession('s1', filler(at))
    await endOfTurn()
  }
  return at
}

/** All frames up to the close frame, which comes last. */
async function readOn (peer: RawClient): Promise<{ messages: RawFrame[], close: RawFrame }> {
  peer.socket.resume()
  const messages: RawFrame[] = []
  for (;;) {
    const frame = await peer.frame()
    if (frame.first === 0x88) return { messages, close: frame }
    if (frame.first === TEXT) messages.push(frame)
  }
}

t.test('a client that reads nothing costs a limited amount of memory, and is closed with 4000 when it reads again', async (t) => {
  const maxOutboxBytes = 256 * KiB
  const { app, url, metrics } = await start(t, { delivery: { maxOutboxBytes } })
  const deaf = await connectDeaf(t, url('?sessionId=s1'))
  let most = 0
  const published = await publish(app, () => {
    most = Math.max(most, metrics().bufferedAmount)
    return metrics().slowConsumers > 0
  })
  t.ok(most > IN_SOCKET, 'it had to wait')
  t.ok(most <= maxOutboxBytes + IN_SOCKET + MESSAGE, `${most} bytes waited`)
  t.match(metrics(), { slowConsumers: 1, closes: { slowConsumer: 1 } })
  t.ok(metrics().dropped > 0)
  t.ok(metrics().bufferedAmount <= IN_SOCKET + MESSAGE, 'its backlog is freed immediately')
  t.match(await app.wsManager.broadcastToSession('s1', filler(published)), { recipients: 0 }, 'it receives no more messages')

  const { messages, close } = await readOn(deaf)
  t.same(readClose(close), { code: 4000, reason: 'Slow reader' })
  t.ok(messages.length < published)
  t.ok(messages.every((message, at) => textOf(message).at === at), 'until then nothing is missing or duplicated')
  deaf.socket.end()
  await deaf.closed
  await until(() => metrics().totalConnections === 0)
  t.equal(metrics().bufferedAmount, 0)
})

t.test('a client that never reads again is terminated in time', async (t) => {
  const { app, url, metrics } = await start(t, { delivery: { maxOutboxBytes: 128 * KiB }, closeTimeoutMs: 100 })
  await connectDeaf(t, url('?sessionId=s1'))
  await publish(app, () => metrics().slowConsumers > 0)
  await until(() => metrics().totalConnections === 0)
  t.equal(metrics().bufferedAmount, 0)
})

t.test('other subscribers of the session do not wait for it, and miss nothing', async (t) => {
  const { app, url, metrics } = await start(t, { delivery: { maxOutboxBytes: 512 * KiB } })
  const deaf = await connectDeaf(t, url('?sessionId=s1'))
  const fast = await connect(t, url('?sessionId=s1'))
  let at = 0
  for (; metrics().slowConsumers === 0; at++) {
    if (at * MESSAGE > MUCH) throw new Error('the reader that reads nothing took all of it')
    void app.wsManager.broadcastToSession('s1', filler(at))
    // While the other one has not read a byte.
    t.equal((await fast.next()).at, at)
  }
  t.equal(deaf.socket.isPaused(), true)
  t.same(await fast.sync(), [])
  t.equal(fast.ws.readyState, fast.ws.OPEN)
})

t.test('while a client is behind, only the newest progress of each job waits, but all starts and results', async (t) => {
  const { app, url, metrics } = await start(t)
  const deaf = await connectDeaf(t, url('?sessionId=s1'))
  await publish(app, () => metrics().bufferedAmount > IN_SOCKET + MESSAGE)
  for (let chunksReceived = 1; chunksReceived <= 1000; chunksReceived++) {
    if (chunksReceived % 100 === 1) await app.wsManager.notifyAIStart('s1', {})
    void app.wsManager.notifyAIProgress('s1', { chunksReceived })
    if (chunksReceived % 100 === 0) await app.wsManager.notifyAIComplete('s1', { chunks: chunksReceived })
  }
  await endOfTurn()
  t.equal(metrics().collapsed, 990)

  deaf.socket.resume()
  const ends: unknown[] = []
  const progress: unknown[] = []
  let starts = 0
  while (ends.length < 10) {
    const message = textOf(await deaf.frame()) as { type: string, progress?: unknown, result?: unknown }
    if (message.type === 'ai_start') starts++
    if (message.type === 'ai_progress') progress.push(message.progress)
    if (message.type === 'ai_complete') ends.push(message.result)
  }
  t.same(ends, Array.from({ length: 10 }, (_, i) => ({ chunks: (i + 1) * 100 })))
  t.same(progress, ends.map((_, i) => ({ chunksReceived: (i + 1) * 100 })))
  t.equal(starts, 10)
  t.match(metrics(), { slowConsumers: 0, dropped: 0 })
})

t.test('a slow client that does read receives everything, in order', async (t) => {
  const { app, url, metrics } = await start(t)
  const slow = await connectDeaf(t, url('?sessionId=s1'))
  const published = await publish(app, () => metrics().bufferedAmount > 512 * KiB)
  slow.socket.resume()
  for (let at = 0; at < published; at++) t.equal(textOf(await slow.frame()).at, at)
  await until(() => metrics().bufferedAmount === 0)
  await app.wsManager.broadcastToSession('s1', { type: 'after' })
  t.match(textOf(await slow.frame()), { type: 'after' })
  t.match(metrics(), { slowConsumers: 0, dropped: 0, closes: {} })
})

t.test('a client that reads nothing of its backlog for too long is closed, even below the limit', async (t) => {
  const { app, url, metrics } = await start(t, { heartbeatIntervalMs: 1000, delivery: { stallTimeoutMs: 1000 } })
  const deaf = await connectDeaf(t, url('?sessionId=s1'))
  await publish(app, () => metrics().bufferedAmount > IN_SOCKET + MESSAGE)
  await until(() => metrics().slowConsumers > 0)
  t.match(metrics(), { closes: { slowConsumer: 1 } })
  const { close } = await readOn(deaf)
  t.match(readClose(close), { code: 4000 })
})

t.test('the limit over all clients closes those with the largest backlogs', async (t) => {
  const maxTotalOutboxBytes = 384 * KiB
  const { app, url, metrics } = await start(t, { delivery: { maxOutboxBytes: 16 * KiB * KiB, maxTotalOutboxBytes } })
  const fast = await connect(t, url('?sessionId=s1'))
  await Promise.all(Array.from({ length: 4 }, () => connectDeaf(t, url('?sessionId=s1'))))
  let most = 0
  await publish(app, () => {
    most = Math.max(most, metrics().bufferedAmount)
    return metrics().slowConsumers === 4
  })
  t.ok(most <= maxTotalOutboxBytes + 5 * (IN_SOCKET + MESSAGE), `${most} bytes waited`)
  t.same((await fast.sync()).map(({ at }) => at as number), [...fast.received.keys()].slice(0, -2), 'clients that read are not among them')
})

t.test('a client that sends requests and does not read the replies is limited too', async (t) => {
  const { url, metrics } = await start(t, { limits: { burst: 1e9 }, delivery: { maxOutboxBytes: 128 * KiB } })
  const deaf = await connectDeaf(t, url())
  // A request with a long reply.
  const questions = Buffer.concat(Array.from({ length: 500 }, () => {
    const payload = Buffer.from(JSON.stringify({ type: 'x'.repeat(64) }))
    return Buffer.concat([Buffer.from([TEXT, 0x80 | payload.length, 0, 0, 0, 0]), payload])
  }))
  let most = 0
  while (metrics().slowConsumers === 0) {
    if (!deaf.socket.write(questions)) await once(deaf.socket, 'drain')
    await endOfTurn()
    most = Math.max(most, metrics().bufferedAmount)
  }
  t.ok(most <= 128 * KiB + 2 * IN_SOCKET + MESSAGE, `${most} bytes waited`)
})

t.test('app.close() waits for it no longer than its deadline, and the others receive their messages', async (t) => {
  const { app, url, metrics } = await start(t, { closeTimeoutMs: 300 })
  await connectDeaf(t, url('?sessionId=s1'))
  const fast = await connect(t, url('?sessionId=s1'))
  await publish(app, () => metrics().bufferedAmount > IN_SOCKET + MESSAGE)
  void app.wsManager.notifyAIComplete('s1', { last: true })
  await app.close()
  t.match(await fast.closed, { code: 1012 })
  t.match(fast.waiting.at(-1), { type: 'ai_complete', result: { last: true } })
  t.match(metrics(), { totalConnections: 0, bufferedAmount: 0 })
})
