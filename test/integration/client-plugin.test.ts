import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { WebSocket as Socket } from 'ws'
import type { AiCanvasWsOptions } from 'ai-canvas-ws'
import { createClient, type Client, type ClientOptions } from 'ai-canvas-ws/client'
import { startApp } from '../support/app.js'
import type { Message } from '../support/ws-client.js'

// Tests the client against this package's server, on a real port.

/** The clients' sockets, so that a test can destroy one like a failing network. */
const sockets: Socket[] = []
class WebSocket extends Socket {
  constructor (url: string, protocols: string[] = []) {
    super(url, protocols)
    sockets.push(this)
  }
}

function cut (): void {
  sockets.at(-1)?.terminate()
}

const next = (client: Client, type: string): Promise<Message> => new Promise((resolve) => {
  const stop = client.on(type as 'message', (event) => { stop(); resolve(event) })
})

async function start (t: Test, options: ClientOptions = {}, server: AiCanvasWsOptions = {}): Promise<{ app: FastifyInstance, client: Client }> {
  const { app, url } = await startApp(t, server)
  const client = createClient({ url: url(), WebSocket, reconnectInterval: 5, sessionId: 's', ...options })
  t.teardown(() => { client.close() })
  const opened = next(client, 'open')
  client.connect()
  if (server.authenticate === undefined) await opened
  return { app, client }
}

t.test('a client receives a job from start to end, with its text', async (t) => {
  const { app, client } = await start(t, { userId: 'u' })
  const ended = next(client, 'ai_complete')
  await app.wsManager.notifyAIStart('s', { prompt: 'x' })
  await app.wsManager.notifyAIProgress('s', { chunksReceived: 1, delta: 'hello ' })
  await app.wsManager.notifyAIProgress('s', { chunksReceived: 2, delta: 'you' })
  await app.wsManager.notifyAIComplete('s', { chunks: 2 })
  await ended
  t.match(client.jobStore('s').getSnapshot().latest, { status: 'complete', text: 'hello you', task: { prompt: 'x' }, result: { chunks: 2 } })
})

t.test('a client that subscribes late receives a snapshot', async (t) => {
  const { app, client } = await start(t)
  await app.wsManager.notifyAIStart('late', { prompt: 'x' })
  await app.wsManager.notifyAIProgress('late', { chunksReceived: 7, delta: 'so far' })
  const progressed = next(client, 'ai_progress')
  client.subscribe('late')
  await progressed
  t.match(client.jobStore('late').getSnapshot().latest, { status: 'processing', text: 'so far', progress: { chunksReceived: 7 } })
})

t.test('a client that is disconnected in the middle of a job ends with the complete text and each message once', async (t) => {
  const { app, client } = await start(t, { userId: 'u' })
  const gaps: unknown[] = []
  const notes: unknown[] = []
  client.on('gap', (gap) => { gaps.push(gap) })
  client.on('note', ({ n }) => { notes.push(n) })
  await app.wsManager.notifyAIStart('s', { prompt: 'x' })
  let text = ''
  for (let n = 0; n < 60; n++) {
    const delta = `${n} \u{1f600} `
    text += delta
    await app.wsManager.notifyAIProgress('s', { chunksReceived: n, delta })
    await app.wsManager.broadcastToSession('s', { type: 'note', n })
    await app.wsManager.broadcastToUser('u', { type: 'note', n: `user ${n}` })
    if (n % 20 === 10) {
      const back = next(client, 'open')
      cut()
      await app.wsManager.broadcastToSession('s', { type: 'note', n: n + 0.5 })
      await back
    }
  }
  const ended = next(client, 'ai_complete')
  await app.wsManager.notifyAIComplete('s', { chunks: 60 })
  await ended
  t.equal(client.jobStore('s').getSnapshot().latest?.text, text)
  const ofSession = Array.from({ length: 60 }, (_, n) => n % 20 === 10 ? [n, n + 0.5] : [n]).flat()
  t.same(notes.filter((n) => typeof n === 'number'), ofSession)
  t.same(notes.filter((n) => typeof n === 'string'), Array.from({ length: 60 }, (_, n) => `user ${n}`))
  t.same([gaps, client.metrics.reconnects], [[], 3])
})

t.test('many sessions on one connection all recover', async (t) => {
  const { app, client } = await start(t)
  const ids = Array.from({ length: 50 }, (_, n) => `session ${n}`)
  for (const id of ids) client.subscribe(id)
  client.send({ type: 'ping' })
  await next(client, 'pong')
  const back = next(client, 'open')
  cut()
  for (const id of ids) await app.wsManager.broadcastToSession(id, { type: 'note', id })
  const notes: unknown[] = []
  client.on('note', ({ id }) => { notes.push(id) })
  await back
  client.send({ type: 'ping' })
  await next(client, 'pong')
  t.same(notes, ids)
})

t.test('a job is cancelled, and a refused cancel is reported', async (t) => {
  const { app, client } = await start(t, {}, { allowCancel: true })
  const refused = next(client, 'error')
  client.cancel('s')
  t.match(await refused, { name: 'ClientError', code: 'not_cancellable', sessionId: 's' })
  const begun = next(client, 'ai_start')
  const job = app.wsManager.startAI('s', { prompt: 'x' })
  await begun
  const cancelling = next(client, 'cancelling')
  client.cancel('s')
  t.match(await cancelling, { jobId: job.jobId })
})

t.test('a client without an accepted token stays disconnected; with one it is admitted', async (t) => {
  const server: AiCanvasWsOptions = { authenticate: (_request, { token }) => token === 'good' ? { userId: 'u' } : null, authorize: (_identity, { sessionId }) => sessionId === 's' }
  const { client } = await start(t, { getToken: () => 'bad' }, server)
  t.match(await next(client, 'close'), { code: 1008, reason: 'Unauthorized' })
  t.match(await next(client, 'close'), { code: 1008 })
  t.same([client.state, client.reason], ['closed', 'refused'])

  const tokens = ['old', 'good']
  const { client: other } = await start(t, { getToken: () => tokens.shift() }, server)
  await next(other, 'open')
  const denied = next(other, 'error')
  other.subscribe('theirs')
  t.match(await denied, { code: 'forbidden', sessionId: 'theirs' })
  t.equal(other.state, 'connected')
})

t.test('after a deployment on the same port, a job of the old server counts as lost', async (t) => {
  const first = await startApp(t)
  const { port } = new URL(first.origin)
  const client = createClient({ url: first.url(), WebSocket, reconnectInterval: 20, maxReconnectAttempts: 100, sessionId: 's' })
  t.teardown(() => { client.close() })
  client.connect()
  await next(client, 'open')
  await first.app.wsManager.notifyAIStart('s', { prompt: 'x' })
  const ended = next(client, 'ai_error')
  const gone = next(client, 'close')
  await first.app.close()
  t.match(await gone, { code: 1012 })
  t.match(await ended, { error: { type: /interrupted|lost/ } })
  const { default: Fastify } = await import('fastify')
  const { default: aiCanvasWs } = await import('ai-canvas-ws')
  const second = Fastify()
  t.teardown(() => second.close())
  await second.register(aiCanvasWs)
  const back = next(client, 'open')
  await second.listen({ port: Number(port), host: '127.0.0.1' })
  await back
  const noted = next(client, 'note')
  await second.wsManager.broadcastToSession('s', { type: 'note', n: 1 })
  t.match(await noted, { n: 1 })
})
