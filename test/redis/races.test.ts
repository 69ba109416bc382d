import { connect as connectTo, createServer, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { redisBroker } from '../../lib/redis/index.js'
import { RecordingNode } from '../../lib/testing/recording-node.js'
import { Line } from '../support/redis-fixture.js'
import { brokerSettings, isReady, startNode } from '../support/redis-apps.js'
import { startRedis } from '../support/redis-nodes.js'
import { withoutRedis } from '../support/redis-server.js'
import { until } from '../support/until.js'
import { connect } from '../support/ws-client.js'

// Faults that a review found. Each test fails until its fault is corrected.

const options = { skip: withoutRedis, timeout: 60_000 }

interface Message { type: string, jobId?: string, progress?: { delta?: string, offset?: number }, task?: unknown }
const messagesOf = (reader: { received: readonly string[] }): Message[] => reader.received.map((text) => JSON.parse(text) as Message).filter(({ type }) => type.startsWith('ai_'))

t.test('a publication is recognized although one with a lower counter was executed after it', options, async (t) => {
  const server = await startRedis(t)
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: server.port } })
  t.teardown(() => broker.close())
  await broker.open(new RecordingNode(), brokerSettings)
  const end = { durable: true, job: { event: 'complete' } } as const
  const first = await broker.publish('session:s', '{"n":2}', { ...end, counter: 2 })
  // It waited in an outage, while the answer to the other one was lost.
  await broker.publish('session:s', '{"n":1}', { ...end, counter: 1 })
  t.same(await broker.publish('session:s', '{"n":2}', { ...end, counter: 2 }), first, 'it is not published again')
})

t.test('without job ids, a start and an end in a short outage leave no job running', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server)
  a.line.cut()
  await until(() => a.broker.status?.().state === 'unavailable')
  const sessions = Array.from({ length: 1_000 }, (_, n) => `s${n}`)
  const reports: Array<Promise<unknown>> = sessions.map((session) => a.manager.notifyAIStart(session, { prompt: 'x' }))
  a.line.mend()
  // Some of the ends come while the node synchronises.
  const began: string[] = []
  for (const session of sessions) {
    if (a.broker.status?.().state === 'ready') break
    began.push(session)
    reports.push(a.manager.notifyAIComplete(session, { n: 1 }))
    await new Promise((resolve) => { setTimeout(resolve, 1) })
  }
  await isReady(a)
  await Promise.allSettled(reports)
  const running = (await Promise.all(began.map(async (session) => a.broker.currentJob(`session:${session}`)))).filter((id) => id !== undefined)
  t.equal(running.length, 0, `jobs that run for ever, of ${began.length}`)
})

t.test('a job that starts in a short outage: its start comes first, and none of its text is lost', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const reader = await connect(t, b.url('?sessionId=s'))
  a.line.cut()
  await until(() => a.broker.status?.().state === 'unavailable')
  const job = a.manager.startAI('s', { prompt: 'x' }, { jobId: 'j' })
  job.started.catch(() => undefined)
  let sent = ''
  const stream = async (pieces: number): Promise<void> => {
    for (let n = 0; n < pieces; n++) {
      const delta = `${n} `
      sent += delta
      job.progress({ delta }).catch(() => undefined)
      await new Promise((resolve) => { setImmediate(resolve) })
    }
  }
  await stream(20)
  a.line.mend()
  while (a.broker.status?.().state !== 'ready') await stream(1)
  await stream(20)
  t.match(await job.complete({}), { jobId: 'j' })
  await until(() => messagesOf(reader).some(({ type }) => type === 'ai_complete'))
  const messages = messagesOf(reader)
  t.equal(messages[0]?.type, 'ai_start')
  let text = ''
  for (const { progress } of messages) if (progress?.delta !== undefined) text = text.slice(0, progress.offset) + progress.delta
  t.equal(text, sent)
})

t.test('a job whose start was rejected in an outage of more than 5 seconds: its text is published after it', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const reader = await connect(t, b.url('?sessionId=s'))
  a.line.cut()
  await until(() => a.broker.status?.().state === 'unavailable')
  const job = a.manager.startAI('s', { prompt: 'x' }, { jobId: 'j' })
  job.progress({ delta: 'Once ' }).catch(() => undefined)
  await t.rejects(job.started)
  a.line.mend()
  await isReady(a)
  await job.progress({ delta: 'upon' })
  await job.complete({})
  await until(() => messagesOf(reader).some(({ type }) => type === 'ai_complete'))
  const messages = messagesOf(reader)
  t.comment(messages.map((m) => JSON.stringify(m)).join('\n'))
  t.equal(messages.map(({ progress }) => progress?.delta ?? '').join(''), 'Once upon')
})

t.test('a client that leaves while its join waits leaves no subscription in Redis', options, async (t) => {
  const server = await startRedis(t)
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: server.port } })
  t.teardown(() => broker.close())
  await broker.open(new RecordingNode(), brokerSettings)
  // More than may be under way at once.
  const joins = Array.from({ length: 600 }, async (_, n) => broker.join(`session:${n}`))
  for (let n = 0; n < 600; n++) broker.leave(`session:${n}`)
  await Promise.allSettled(joins)
  const channels = await server.command('PUBSUB', 'CHANNELS', '*session:*') as string[]
  t.equal(channels.length, 0)
})

t.test('the connection for subscriptions is lost and made again while a node opens: it can be joined', options, async (t) => {
  const server = await startRedis(t)
  const sockets = new Set<Socket>()
  let hasCut = false
  const proxy = createServer((socket) => {
    const other = connectTo(server.port, '127.0.0.1')
    sockets.add(socket)
    for (const each of [socket, other]) each.on('error', () => undefined).on('close', () => { socket.destroy(); other.destroy(); sockets.delete(socket) })
    other.pipe(socket)
    socket.on('data', (chunk: Buffer) => {
      // The first command of the node itself.
      if (hasCut || !/INFO\r\n\$6\r\nserver/i.test(chunk.toString('latin1'))) {
        other.write(chunk)
        return
      }
      hasCut = true
      for (const each of sockets) if (each !== socket) each.destroy()
      setTimeout(() => { other.write(chunk) }, 500)
    })
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: (proxy.address() as AddressInfo).port } })
  t.teardown(async () => { await broker.close(); for (const each of sockets) each.destroy(); proxy.close() })
  await broker.open(new RecordingNode(), brokerSettings)
  t.ok(hasCut)
  t.equal(broker.status?.().state, 'ready')
  await t.resolves(Promise.resolve(broker.join('session:s')))
})

t.test('the connection is lost again while a node publishes its jobs after a loss of history: it publishes them again', options, async (t) => {
  const server = await startRedis(t)
  const line = await Line.to(server.port)
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: line.port } })
  t.teardown(async () => { await broker.close(); line.close() })
  const node = new RecordingNode()
  let reseeds = 0
  const start = { durable: true, job: { event: 'start', jobId: 'j' } } as const
  await broker.open({
    deliver: (...args) => node.deliver(...args),
    restarted: () => undefined, orphaned: () => undefined, disowned: () => undefined, revoke: () => undefined, cancel: () => false, answer: () => '', statusChanged: () => undefined,
    reseed: async () => {
      if (++reseeds === 1) line.cut()
      // As the notifier: it logs a failure.
      await Promise.resolve(broker.publish('session:s', '{}', { ...start, job: { ...start.job, repeated: true } })).catch(() => undefined)
    }
  }, brokerSettings)
  await broker.publish('session:s', '{}', start)
  await server.command('FLUSHALL')
  await Promise.resolve(broker.publish('session:other', '{}', { durable: true })).catch(() => undefined)
  await until(() => reseeds > 0)
  line.mend()
  await until(() => broker.status?.().state === 'ready')
  await broker.publish('session:other', '{}', { durable: true })
  t.equal(await broker.currentJob('session:s'), 'j', `after ${reseeds} reseed(s)`)
})

t.test('a worker reports on another job of the session over HTTP: the text of this node\'s job survives an outage', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server, 5_000, { publish: { onRequest: async () => undefined } })
  const b = await startNode(t, server)
  const reader = await connect(t, b.url('?sessionId=s'))
  const job = a.manager.startAI('s', {}, { jobId: 'j' })
  await job.progress({ delta: 'ab' })
  const response = await fetch(`${a.origin.replace('ws:', 'http:')}/api/ws/publish`, {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'ai_progress', sessionId: 's', jobId: 'k', progress: { delta: 'x' } })
  })
  t.equal(response.status, 200)
  a.line.cut()
  await until(() => a.broker.status?.().state === 'unavailable')
  t.match(await job.progress({ delta: 'c' }), { local: true })
  a.line.mend()
  await isReady(a)
  await job.progress({ delta: 'd' })
  await job.complete({})
  await until(() => messagesOf(reader).some(({ type }) => type === 'ai_complete'))
  let text = ''
  for (const { jobId, progress } of messagesOf(reader)) if (jobId === 'j' && progress?.delta !== undefined) text = text.slice(0, progress.offset) + progress.delta
  t.equal(text, 'abcd')
})

t.test('a message between nodes that is no object does not end the process', options, async (t) => {
  const server = await startRedis(t)
  await startNode(t, server)
  const thrown: unknown[] = []
  const note = (error: unknown): void => { thrown.push(error) }
  process.on('uncaughtException', note)
  t.teardown(() => { process.off('uncaughtException', note) })
  await server.command('PUBLISH', 'aicw:1:{ctl}all', 'null')
  await new Promise((resolve) => { setTimeout(resolve, 200) })
  t.same(thrown, [])
})
