import t, { type Test } from 'tap'
import { getWebSocketManager } from 'ai-canvas-ws'
import { startApp, withoutPings } from '../support/app.js'
import { browser, documentedCode, recorder, run } from '../support/documented.js'
import { connect, type Message, type TestClient } from '../support/ws-client.js'

async function tabs (t: Test, count: number, url: string): Promise<TestClient[]> {
  return Promise.all(Array.from({ length: count }, () => connect(t, url)))
}

const typesOf = (messages: Message[]): string[] => messages.map(({ type }) => type)

t.test('the server-side API works as documented', async (t) => {
  const { origin, url } = await startApp(t)
  const client = await connect(t, url('?userId=user_123&sessionId=session_123'))
  const { call: log, next } = recorder()
  const { context } = browser(t, origin, {
    getWebSocketManager, console: { log }, sessionId: 'session_123', userId: 'user_123'
  })
  run(documentedCode('WebSocketManager Class'), context)

  t.same(await next(), ['Active connections: 1'])
  t.match(await client.next(), { type: 'ai_complete', sessionId: 'session_123', result: { mode: 'generate', contentLength: 5000, chunks: 100 } })
  // Fewer chunks than the job that has just ended: another run begins.
  t.match(await client.next(), { type: 'ai_progress', sessionId: 'session_123', progress: { chunksReceived: 25, contentLength: 1250 } })
  t.match(await client.next(), { type: 'ai_error', sessionId: 'session_123', error: { message: 'Rate limit exceeded', type: 'rate_limit_error' } })
  t.match(await client.next(), { type: 'ai_start', sessionId: 'session_123', task: { prompt: 'Create component', mode: 'generate' } })
  t.match(await client.next(), { type: 'notification', message: 'New update available', timestamp: /Z$/ })
  t.same(await client.sync(), [])
})

t.test('the documented metrics can be computed, and are available from the start', async (t) => {
  const { app, origin, url } = await startApp(t, withoutPings)
  const client = await connect(t, url('?sessionId=s&attempt=1'))
  await connect(t, url())
  await app.wsManager.notifyAIStart('s', {})
  await client.sync()
  const metrics = app.wsManager.getMetrics()
  const { context } = browser(t, origin, {
    wsManager: app.wsManager, messageCounter: metrics.messagesSent, receivedCounter: metrics.messagesReceived,
    reconnectCounter: metrics.reconnectAttempts, latencySum: 10, latencyCount: 4
  })
  const documented = run(`${documentedCode('Metrics')}; metrics`, context) as object
  t.same({ ...documented }, {
    totalConnections: 2, activeConnections: 2, messagesSent: 4, messagesReceived: 1, reconnectAttempts: 1, averageLatency: 2.5
  })
  t.match(metrics, { ...documented, averageLatency: 0 })
  t.same(Object.keys(metrics).slice(0, 6), Object.keys(documented))
})

t.test('each tab that is subscribed to a session receives each message once and in order; others receive none', async (t) => {
  const { app, url } = await startApp(t)
  const { wsManager } = app
  const subscribers = await tabs(t, 40, url('?sessionId=s1'))
  const others = await tabs(t, 3, url('?sessionId=s2'))
  const receipts = [await wsManager.notifyAIStart('s1', { prompt: 'x' })]
  for (let chunk = 1; chunk <= 20; chunk++) receipts.push(await wsManager.notifyAIProgress('s1', { chunksReceived: chunk }))
  receipts.push(await wsManager.notifyAIComplete('s1', { chunks: 20 }))
  t.ok(receipts.every(({ recipients }) => recipients === 40))
  t.same([receipts[0]!.seq, receipts.at(-1)!.seq], [1, 2], 'progress has no sequence number')
  t.equal(receipts[0]!.epoch, receipts.at(-1)!.epoch)

  const [first, ...rest] = await Promise.all(subscribers.map((tab) => tab.sync()))
  t.same(typesOf(first!), ['ai_start', ...Array<string>(20).fill('ai_progress'), 'ai_complete'])
  t.same(first!.slice(1, -1).map(({ progress }) => (progress as { chunksReceived: number }).chunksReceived), Array.from({ length: 20 }, (_, i) => i + 1))
  for (const messages of rest) t.same(messages, first)
  for (const other of others) t.same(await other.sync(), [])
})

t.test('one socket subscribes to two sessions, and unsubscribes from one or all', async (t) => {
  const { app, url } = await startApp(t)
  const { wsManager } = app
  const client = await connect(t, url('?sessionId=s1'))
  client.send({ type: 'subscribe', sessionId: 's2' })
  t.match(await client.next(), { type: 'subscribed', sessionId: 's2' })

  // In one tick, so that they are sent together; the order is still that of the calls.
  for (const sessionId of ['s1', 's2', 's1', 's2', 's2']) void wsManager.notifyAIStart(sessionId, {})
  t.same((await client.sync()).map(({ sessionId, seq }) => [sessionId as string, seq as number]),
    [['s1', 1], ['s2', 1], ['s1', 2], ['s2', 2], ['s2', 3]])

  client.send({ type: 'unsubscribe', sessionId: 's1' })
  t.match(await client.next(), { type: 'unsubscribed', sessionId: 's1' })
  t.match(await wsManager.notifyAIStart('s1', {}), { recipients: 0 })
  t.match(await wsManager.notifyAIStart('s2', {}), { recipients: 1 })
  t.match(await client.sync(), [{ type: 'ai_start', sessionId: 's2' }])

  client.send({ type: 'subscribe', sessionId: 's3' })
  client.send({ type: 'unsubscribe' })
  t.same(typesOf([await client.next(), await client.next()]), ['subscribed', 'unsubscribed'])
  for (const sessionId of ['s1', 's2', 's3']) t.match(await wsManager.notifyAIStart(sessionId, {}), { recipients: 0 })
  t.same(await client.sync(), [])
})

t.test('after subscribing twice, a session\'s messages are delivered once', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s1'))
  client.send({ type: 'subscribe', sessionId: 's1' })
  t.match(await client.next(), { type: 'subscribed', sessionId: 's1' })
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 1 })
  t.same(typesOf(await client.sync()), ['ai_start'])
})

t.test('a user\'s message reaches all of the user\'s connections, whatever their sessions, and no other user\'s', async (t) => {
  const { app, url } = await startApp(t)
  const mine = [await connect(t, url('?userId=u1&sessionId=s1')), await connect(t, url('?userId=u1&sessionId=s2'))]
  const theirs = await connect(t, url('?userId=u2&sessionId=s1'))
  const nobodys = await connect(t, url('?sessionId=u1'))
  t.match(await app.wsManager.broadcastToUser('u1', { type: 'notification', message: 'hello' }), { seq: 1, recipients: 2 })
  for (const client of mine) t.match(await client.sync(), [{ type: 'notification', message: 'hello', userSeq: 1 }])
  for (const client of [theirs, nobodys]) t.same(await client.sync(), [])

  await mine[0]!.close()
  t.match(await app.wsManager.broadcastToUser('u1', { type: 'notification' }), { recipients: 1 })
})

t.test('a broadcast reaches all connections', async (t) => {
  const { app, url } = await startApp(t)
  const clients = [await connect(t, url()), await connect(t, url('?userId=u1')), await connect(t, url('?sessionId=s1'))]
  t.match(await app.wsManager.broadcast({ type: 'maintenance', inMinutes: 5 }), { recipients: 3 })
  for (const client of clients) t.match(await client.sync(), [{ type: 'maintenance', inMinutes: 5, timestamp: /Z$/ }])
})

t.test('notifying a session without subscribers is no error, and the next subscriber gets its position', async (t) => {
  const { app, url } = await startApp(t)
  const bystander = await connect(t, url())
  t.match(await app.wsManager.notifyAIStart('s1', {}), { seq: 1, recipients: 0 })
  t.match(await app.wsManager.broadcastToSession('s1', { type: 'note' }), { seq: 2, recipients: 0 })
  t.match(await app.wsManager.broadcastToUser('u1', { type: 'note' }), { seq: 1, recipients: 0 })
  t.same(await bystander.sync(), [])
  bystander.send({ type: 'subscribe', sessionId: 's1' })
  t.match(await bystander.next(), { type: 'subscribed', seq: 2 })
})

t.test('the app\'s own fields are passed through, in jobs and in broadcasts', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s1'))
  void app.wsManager.notifyAIStart('s1', { prompt: 'x', model: { name: 'm', temperature: 0.2 } })
  void app.wsManager.notifyAIProgress('s1', { chunksReceived: 1, phase: 'über 🎨' })
  void app.wsManager.notifyAIComplete('s1', { files: ['a.ts', 'b.ts'] })
  void app.wsManager.notifyAIError('s1', { message: 'm', type: 'overloaded_error', retryAfter: 3 })
  void app.wsManager.broadcastToSession('s1', { type: 'cursor', at: [1, 2] })
  t.match(await client.sync(), [
    { task: { prompt: 'x', model: { name: 'm', temperature: 0.2 } } },
    { progress: { chunksReceived: 1, phase: 'über 🎨' } },
    { result: { files: ['a.ts', 'b.ts'] } },
    { error: { message: 'm', type: 'overloaded_error', retryAfter: 3 } },
    { type: 'cursor', at: [1, 2], sessionId: 's1' }
  ])
})

t.test('an Error is reported with the type of its status, and without its stack', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s1'))
  await app.wsManager.notifyAIError('s1', Object.assign(new Error('429 too many'), { status: 429, headers: { 'x-request-id': 'secret' } }))
  t.same((await client.next()).error, { message: 'too many', type: 'rate_limit_error', retryable: true })
})

t.test('a value that JSON can\'t represent rejects and is not sent; as a job\'s end it ends the job', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?userId=u1&sessionId=s1'))
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  for (const payload of [cycle, { count: 1n }]) {
    await t.rejects(app.wsManager.notifyAIStart('s1', payload), { code: 'AICW_ERR_NOT_SERIALIZABLE' })
    await t.rejects(app.wsManager.broadcastToUser('u1', { type: 'x', payload }), { code: 'AICW_ERR_NOT_SERIALIZABLE' })
    void app.wsManager.notifyAIComplete('s1', payload)
  }
  const failed = { type: 'ai_error', error: { type: 'internal_error' } }
  t.match(await client.sync(), [failed, failed])
  t.match(await app.wsManager.notifyAIStart('s1', {}), { seq: 3, recipients: 1 })
  t.equal(app.wsManager.getMetrics().failed, 6)
})

t.test('the batching example runs as documented', async (t) => {
  const { app, origin, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=session_123'))
  const { context } = browser(t, origin, { wsManager: app.wsManager, sessionId: 'session_123' })
  run(documentedCode('Message Batching'), context)
  run('messageQueue.push({ type: "token", text: "a" }, { type: "token", text: "b" })', context)
  t.match(await client.next(), {
    type: 'batch_update', sessionId: 'session_123', messages: [{ type: 'token', text: 'a' }, { type: 'token', text: 'b' }]
  })
  run('messageQueue.push({ type: "token", text: "c" })', context)
  t.match(await client.next(), { type: 'batch_update', messages: [{ text: 'c' }] })
  t.same(await client.sync(), [])
})

t.test('a batcher sends its contents every 100 ms, on flush, and on close', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s1'))
  const batcher = app.wsManager.createBatcher('s1')
  const since = performance.now()
  batcher.push({ n: 1 })
  batcher.push({ n: 2 })
  t.match(await client.next(), { type: 'batch_update', sessionId: 's1', messages: [{ n: 1 }, { n: 2 }], timestamp: /Z$/ })
  t.ok(performance.now() - since >= 99, 'it waited for more')

  const slow = app.wsManager.createBatcher('s1', { intervalMs: 3_600_000 })
  slow.push({ n: 3 })
  slow.flush()
  t.match(await client.next(), { messages: [{ n: 3 }] })
  slow.push({ n: 4 })
  slow.close()
  t.match(await client.next(), { messages: [{ n: 4 }] })
  t.throws(() => { slow.push({ n: 5 }) }, { code: 'AICW_ERR_BATCHER_CLOSED' })

  app.wsManager.createBatcher('s1', { intervalMs: 3_600_000 }).push({ n: 6 })
  await app.close()
  t.match(await client.next(), { messages: [{ n: 6 }] }, 'closing the app loses nothing')
})

t.test('after close every notification resolves with zero recipients', async (t) => {
  const { app, url } = await startApp(t)
  await connect(t, url('?userId=u1&sessionId=s1'))
  await app.close()
  const { wsManager } = app
  t.same(await Promise.all([
    wsManager.notifyAIStart('s1', {}), wsManager.notifyAIProgress('s1', {}), wsManager.notifyAIComplete('s1', {}),
    wsManager.notifyAIError('s1', new Error('x')), wsManager.broadcastToSession('s1', { type: 'x' }),
    wsManager.broadcastToUser('u1', { type: 'x' }), wsManager.broadcast({ type: 'x' })
  ]), Array<object>(7).fill({ recipients: 0 }))
  t.same(wsManager.getStats(), { totalConnections: 0, activeConnections: 0, clients: [] })
})
