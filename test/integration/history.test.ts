import t from 'tap'
import { createClient, type Client } from 'ai-canvas-ws/client'
import { WebSocket } from 'ws'
import { startApp } from '../support/app.js'
import { captureLog } from '../support/log.js'
import { open, type Message } from '../support/ws-client.js'

// The limits of history with very large messages.

const MIB = 1024 * 1024

const next = (client: Client, type: string): Promise<Message> => new Promise((resolve) => {
  const stop = client.on(type as 'message', (event) => { stop(); resolve(event) })
})

/** Whether a late tab of each session receives its job's end. */
async function endsOf (t: Parameters<typeof open>[0], url: (query: string) => string, sessions: readonly string[]): Promise<number> {
  const client = open(t, url('?sessionId=none'))
  await client.next()
  let ends = 0
  // Below the limit of sessions that one connection may request at once.
  for (const sessionId of sessions) {
    client.send({ type: 'subscribe', sessionId })
    const { replaying } = await client.next()
    for (let n = 0; n < replaying; n++) if ((await client.next()).type === 'ai_complete') ends++
    client.send({ type: 'unsubscribe', sessionId })
    await client.next()
  }
  return ends
}

t.test('a result of 17 MiB evicts no other result, and a late subscriber learns that its job has ended', async (t) => {
  const log = captureLog()
  const { app, url } = await startApp(t, { limits: { messagesPerSecond: Infinity, burst: Infinity } }, { logger: { level: 'warn', stream: log.stream } })
  const sessions = Array.from({ length: 1_000 }, (_, n) => `s${n}`)
  for (const sessionId of sessions) await app.wsManager.notifyAIComplete(sessionId, { chunks: 1 })
  await app.wsManager.notifyAIStart('big', { prompt: 'all of it' })
  const receipt = await app.wsManager.notifyAIComplete('big', { mode: 'generate', chunks: 3, content: 'x'.repeat(17 * MIB) })
  t.match(receipt, { seq: 2, kept: false })

  const client = createClient({ url: url(), WebSocket, sessionId: 'big' })
  t.teardown(() => { client.close() })
  const ended = next(client, 'ai_complete')
  client.connect()
  t.match(await ended, { truncated: true, seq: 2, jobId: receipt.jobId, result: { mode: 'generate', chunks: 3 } })
  t.match(client.jobStore('big').getSnapshot().latest, { status: 'complete', endTruncated: true, result: { mode: 'generate', chunks: 3 } })

  t.equal(await endsOf(t, url, sessions), 1_000)
  const { historyBytes, evicted } = app.wsManager.getMetrics()
  t.ok(historyBytes < 8 * MIB)
  t.strictSame(evicted, { messages: 0, starts: 0, texts: 0, ends: 0, shortened: 1, streams: 0 })
  t.match(log.lines.filter(({ msg }) => msg.includes('history is full')), [{ level: 40, evicted: { shortened: 1 } }])
})

t.test('nor do 550 failed jobs with prompts of 32 KiB', async (t) => {
  const { app, url } = await startApp(t, { limits: { messagesPerSecond: Infinity, burst: Infinity } })
  const sessions = Array.from({ length: 1_000 }, (_, n) => `s${n}`)
  for (const sessionId of sessions) await app.wsManager.notifyAIComplete(sessionId, { chunks: 1 })
  for (let n = 0; n < 550; n++) {
    await app.wsManager.notifyAIStart(`failed${n}`, { prompt: 'x'.repeat(32_768) })
    await app.wsManager.notifyAIError(`failed${n}`, { message: 'no', type: 'api_error' })
  }
  t.equal(await endsOf(t, url, sessions), 1_000)
  t.match(app.wsManager.getMetrics().evicted, { ends: 0, streams: 0 })
})

t.test('a subscriber receives all of a result that is too large to be kept; after a reconnect it receives what is left', async (t) => {
  const { app, url } = await startApp(t, { history: { maxTotalBytes: MIB } })
  const client = open(t, url('?sessionId=s'))
  const { epoch } = await client.next()
  const content = 'x'.repeat(200_000)
  const message = 'y'.repeat(200_000)
  t.match(await app.wsManager.notifyAIStart('s', { prompt: content, mode: 'edit' }, { jobId: 'a' }), { kept: false, recipients: 1 })
  t.match(await app.wsManager.notifyAIProgress('s', { chunksReceived: 1, content, delta: 'text' }, { jobId: 'a' }), { recipients: 1 })
  t.match(await app.wsManager.notifyAIError('s', { message, type: 'api_error' }, { jobId: 'a' }), { kept: false, recipients: 1 })
  t.notOk('kept' in await app.wsManager.broadcastToSession('s', { type: 'note' }))
  const [start, progress, failed, note] = [await client.next(), await client.next(), await client.next(), await client.next()]
  t.match([start, progress, failed], [{ task: { prompt: content } }, { progress: { content } }, { error: { message } }])
  t.notOk([start, progress, failed, note].some(({ truncated }) => truncated))

  const back = open(t, url(`?sessionId=s&since=${epoch}:0`))
  t.match(await back.next(), { recovered: true, replaying: 4 })
  t.match(await back.next(), { type: 'ai_start', seq: 1, truncated: true, task: { mode: 'edit' } })
  t.match(await back.next(), { type: 'ai_progress', truncated: true, progress: { chunksReceived: 1, delta: 'text', offset: 0 } })
  t.match(await back.next(), { type: 'ai_error', seq: 2, truncated: true, error: { type: 'api_error', message: 'y'.repeat(256) } })
  t.match(await back.next(), { type: 'note', seq: 3 })
})

t.test('an app\'s message that is too large is not kept, and the receipt says so', async (t) => {
  const { app, url } = await startApp(t, { history: { maxTotalBytes: MIB } })
  const { epoch, seq } = await app.wsManager.broadcastToUser('u', { type: 'note' })
  t.match(await app.wsManager.broadcastToUser('u', { type: 'note', text: 'x'.repeat(200_000) }), { kept: false })
  const client = open(t, url(`?userId=u&userSince=${epoch}:${seq}`))
  t.match(await client.next(), { user: { recovered: false, reason: 'expired', seq: 2 } })
})
