import t from 'tap'
import type { Test } from 'tap'
import { startApp } from '../support/app.js'
import { Reader } from '../support/reader.js'
import { connect, open, type Message, type TestClient } from '../support/ws-client.js'

/** Reads the `connection` message and the messages that it announces. */
async function greeting (client: TestClient, reader = new Reader()): Promise<{ first: Message, past: Message[], reader: Reader }> {
  const first = await client.next()
  reader.take(first)
  const past: Message[] = []
  const announced = (first.replaying as number | undefined ?? 0) + ((first.user as { replaying: number } | undefined)?.replaying ?? 0)
  while (past.length < announced) past.push(await client.next())
  for (const message of past) reader.take(message)
  return { first, past, reader }
}

/** A client that was in the session before. */
function readerAt (epoch: string, seq: number): Reader {
  const reader = new Reader()
  reader.view('session:s').place = { epoch, seq }
  return reader
}

/** A failed network: no close frame in either direction. */
async function blip ({ ws, closed }: TestClient): Promise<void> {
  ws.terminate()
  await closed
}

function opened (t: Test, url: string): TestClient {
  return open(t, url)
}

t.test('a job starts before the socket opens: nothing is lost', async (t) => {
  const { app, url } = await startApp(t, {}, {}, (fastify) => {
    fastify.get('/generate', async () => {
      const { jobId } = await fastify.wsManager.notifyAIStart('background_task_123', { prompt: 'Generate documentation' })
      await fastify.wsManager.notifyAIProgress('background_task_123', { chunksReceived: 3, contentLength: 120 })
      return { jobId }
    })
  })
  const { jobId } = (await app.inject('/generate')).json<{ jobId: string }>()
  const client = opened(t, url('?sessionId=background_task_123'))
  t.match(await client.next(), { type: 'connection', recovered: false, reason: 'new', replaying: 2, seq: 1 })
  t.match(await client.next(), { type: 'ai_start', jobId, task: { prompt: 'Generate documentation' } })
  t.match(await client.next(), { type: 'ai_progress', jobId, progress: { chunksReceived: 3 } })
  await app.wsManager.notifyAIComplete('background_task_123', { chunks: 3 })
  t.match(await client.next(), { type: 'ai_complete', jobId, seq: 2 })
  t.strictSame(await client.sync(), [])
})

t.test('a job starts and ends before the socket opens: its end is delivered', async (t) => {
  const { app, url } = await startApp(t)
  await app.wsManager.notifyAIStart('s', {})
  await app.wsManager.notifyAIError('s', { message: 'no', type: 'rate_limit_error' })
  const { first, past } = await greeting(opened(t, url('?sessionId=s')))
  t.match(first, { recovered: false, reason: 'new', replaying: 1 })
  t.match(past, [{ type: 'ai_error', error: { type: 'rate_limit_error' } }])
})

t.test('a short disconnect: after a reconnect with `since`, the missed messages come, then live ones', async (t) => {
  const { app, url } = await startApp(t)
  const { wsManager } = app
  const reader = new Reader()
  const client = opened(t, url('?sessionId=s'))
  await greeting(client, reader)
  await wsManager.notifyAIStart('s', {})
  reader.take(await client.next())
  await blip(client)
  await wsManager.broadcastToSession('s', { type: 'note', n: 1 })
  await wsManager.notifyAIProgress('s', { chunksReceived: 7 })
  await wsManager.notifyAIComplete('s', {})
  const back = opened(t, url(`?sessionId=s&since=${reader.since('session:s')!}&attempt=1`))
  const { first, past } = await greeting(back, reader)
  t.match(first, { recovered: true, replaying: 2, seq: 3 })
  t.notOk('reason' in first)
  t.match(past, [{ type: 'note', seq: 2 }, { type: 'ai_complete', seq: 3 }])
  await wsManager.broadcastToSession('s', { type: 'note', n: 2 })
  reader.take(await back.next())
  t.equal(reader.view('session:s').place?.seq, 4)
  t.equal(wsManager.getMetrics().reconnectAttempts, 1)
})

t.test('repeated disconnects, also before the first message', async (t) => {
  const { app, url } = await startApp(t)
  const reader = new Reader()
  await blip(await (async () => {
    const client = opened(t, url('?sessionId=s'))
    await greeting(client, reader)
    return client
  })())
  for (let round = 0; round < 10; round++) {
    await app.wsManager.broadcastToSession('s', { type: 'note', n: round })
    const client = opened(t, url(`?sessionId=s&since=${reader.since('session:s')!}`))
    const { first } = await greeting(client, reader)
    t.match(first, { recovered: true, replaying: 1 })
    await blip(client)
  }
  t.same(reader.view('session:s').messages.map(({ n }) => n as number), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

t.test('messages that are published while clients reconnect reach each client once, in order', async (t) => {
  const { app, url } = await startApp(t, { limits: { connectionsPerUser: 1_000 } })
  const readers = Array.from({ length: 10 }, () => new Reader())
  const first = await Promise.all(readers.map(async (reader) => {
    const client = opened(t, url('?sessionId=s'))
    await greeting(client, reader)
    return client
  }))
  await Promise.all(first.map(blip))
  let n = 0
  const publishing = setInterval(() => { for (let i = 0; i < 5; i++) void app.wsManager.broadcastToSession('s', { type: 'note', n: ++n }) }, 1)
  t.teardown(() => { clearInterval(publishing) })
  const back = await Promise.all(readers.map(async (reader) => {
    const client = opened(t, url(`?sessionId=s&since=${reader.since('session:s')!}`))
    await greeting(client, reader)
    return client
  }))
  clearInterval(publishing)
  await app.wsManager.broadcastToSession('s', { type: 'last' })
  await Promise.all(back.map(async (client, at) => {
    let message: Message
    do {
      message = await client.next()
      readers[at]!.take(message)
    } while (message.type !== 'last')
  }))
  for (const reader of readers) {
    t.same(reader.view('session:s').messages.map(({ n }) => n as number).slice(0, -1), Array.from({ length: n }, (_, at) => at + 1))
  }
})

t.test('a user\'s stream recovers in the same way, and so do sessions that were subscribed to later', async (t) => {
  const { app, url } = await startApp(t)
  const { wsManager } = app
  const reader = new Reader()
  const client = opened(t, url('?userId=u'))
  await greeting(client, reader)
  client.send({ type: 'subscribe', sessionId: 'a' })
  reader.take(await client.nextOf('subscribed'))
  await wsManager.broadcastToUser('u', { type: 'mail', n: 1 })
  reader.take(await client.next())
  await blip(client)
  await wsManager.broadcastToUser('u', { type: 'mail', n: 2 })
  await wsManager.broadcastToSession('a', { type: 'note', n: 1 })
  const back = opened(t, url(`?userId=u&userSince=${reader.since('user')!}`))
  const { first, past } = await greeting(back, reader)
  t.match(first, { user: { recovered: true, replaying: 1, seq: 2 } })
  t.match(past, [{ type: 'mail', n: 2, userSeq: 2 }])
  back.send({ type: 'subscribe', sessionId: 'a', since: reader.since('session:a') })
  t.match(await back.next(), { type: 'subscribed', sessionId: 'a', recovered: true, replaying: 1 })
  t.match(await back.next(), { type: 'note', n: 1, seq: 1 })
  t.strictSame(await back.sync(), [])
})

t.test('a recovery failure states its reason and is followed by a snapshot', async (t) => {
  const { app, url } = await startApp(t, { history: { maxMessages: 3 } })
  const { wsManager } = app
  const { epoch } = await wsManager.notifyAIStart('s', {})
  for (let n = 0; n < 5; n++) await wsManager.broadcastToSession('s', { type: 'note', n })
  const cases: Record<string, string> = {
    [`${epoch!}:1`]: 'overflow', [`${epoch!}:99`]: 'restarted', 'elsewhere.0:3': 'restarted', nonsense: 'new', '': 'new'
  }
  for (const [since, reason] of Object.entries(cases)) {
    const { first, past } = await greeting(opened(t, url(`?sessionId=s&since=${encodeURIComponent(since)}`)))
    t.match(first, { recovered: false, reason, replaying: 1, seq: 6 }, since)
    t.match(past, [{ type: 'ai_start' }])
  }
})

t.test('without history there is still a snapshot of the jobs', async (t) => {
  const { app, url } = await startApp(t, { history: false })
  const { epoch } = await app.wsManager.notifyAIStart('s', {})
  const { first, past } = await greeting(opened(t, url(`?sessionId=s&since=${epoch!}:0`)))
  t.match(first, { recovered: false, reason: 'overflow', replaying: 1 })
  t.match(past, [{ type: 'ai_start' }])
  t.match((await greeting(opened(t, url(`?sessionId=s&since=${epoch!}:1`)), readerAt(epoch!, 1))).first, { recovered: true, replaying: 0 })
})

t.test('a session\'s history and subscribers have expired', async (t) => {
  const { app, url } = await startApp(t, { history: { ttlMs: 20 } })
  const { epoch } = await app.wsManager.broadcastToSession('s', { type: 'note' })
  const stays = await connect(t, url('?sessionId=s'))
  for (;;) {
    const { first } = await greeting(opened(t, url(`?sessionId=s&since=${epoch!}:0`)), readerAt(epoch!, 0))
    if (first.recovered === true) continue
    t.match(first, { recovered: false, reason: 'expired', replaying: 0, seq: 1 })
    break
  }
  t.match((await greeting(opened(t, url(`?sessionId=s&since=${epoch!}:1`)), readerAt(epoch!, 1))).first, { recovered: true, replaying: 0 }, 'it missed nothing')
  await app.wsManager.broadcastToSession('s', { type: 'note' })
  t.match(await stays.next(), { seq: 2 })
})

t.test('authorize is called again, and a session with revoked access is not recovered', async (t) => {
  const allowed = new Set(['s', 'x'])
  const asked: string[] = []
  const { app, url } = await startApp(t, {
    authenticate: () => ({ userId: 'u' }),
    authorize: (_identity, action) => {
      asked.push(`${action.type} ${action.sessionId}`)
      return allowed.has(action.sessionId)
    }
  })
  const reader = new Reader()
  const client = opened(t, url('?sessionId=s&token=t'))
  await greeting(client, reader)
  client.send({ type: 'subscribe', sessionId: 'x' })
  reader.take(await client.nextOf('subscribed'))
  await blip(client)
  for (const id of ['s', 'x']) await app.wsManager.broadcastToSession(id, { type: 'secret' })
  allowed.clear()
  const back = opened(t, url(`?sessionId=s&token=t&since=${reader.since('session:s')!}`))
  const first = await back.next()
  t.notOk('sessionId' in first || 'epoch' in first)
  t.match(await back.next(), { type: 'error', code: 'forbidden', sessionId: 's' })
  back.send({ type: 'subscribe', sessionId: 'x', since: reader.since('session:x') })
  t.match(await back.next(), { type: 'error', code: 'forbidden', sessionId: 'x' })
  t.strictSame(await back.sync(), [])
  t.same(asked, ['subscribe s', 'subscribe x', 'subscribe s', 'subscribe x'])
})

t.test('after a restart the sequence numbers have another epoch', async (t) => {
  const before = await startApp(t)
  await before.app.wsManager.broadcastToSession('s', { type: 'note' })
  const reader = new Reader()
  await greeting(opened(t, before.url('?sessionId=s')), reader)
  await before.app.close()
  const after = await startApp(t)
  const { first } = await greeting(opened(t, after.url(`?sessionId=s&since=${reader.since('session:s')!}`)))
  t.match(first, { recovered: false, reason: 'restarted', seq: 0 })
})

t.test('a transient message gets no sequence number and is not kept', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s&userId=u'))
  t.match(await app.wsManager.broadcastToSession('s', { type: 'cursor' }, { durable: false }), { seq: 0, recipients: 1 })
  t.match(await app.wsManager.broadcastToUser('u', { type: 'typing' }, { durable: false }), { seq: 0, recipients: 1 })
  for (const type of ['cursor', 'typing']) {
    const message = await client.next()
    t.equal(message.type, type)
    t.notOk('seq' in message || 'userSeq' in message)
  }
})
