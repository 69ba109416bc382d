import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, WebSocketManager } from '../../lib/index.js'
import type * as clients from '../../lib/redis/client.js'
import { createPublisher, redisBroker, type Publisher, type PublisherOptions } from '../../lib/redis/index.js'
import { startApp } from '../support/app.js'
import { Child, NOT_MEASURED, RUN_TYPESCRIPT } from '../support/child.js'
import { fakeLogger } from '../support/log.js'
import { Line } from '../support/redis-fixture.js'
import { RedisServer, withoutRedis } from '../support/redis-server.js'
import { ended, endsOf, follow, jobOf } from '../support/sessions.js'
import { until } from '../support/until.js'
import { connect } from '../support/ws-client.js'

// Workers without a web server: in this process and in others, with real apps, clients of the package and a real Redis server.

const options = { skip: withoutRedis, timeout: 120_000 }
const TEXT = 'Once upon a time 💡'

async function startRedis (t: Test): Promise<RedisServer> {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  return server
}

interface Node {
  readonly manager: WebSocketManager
  readonly url: (query?: string) => string
}

async function startNode (t: Test, { port }: RedisServer, leaseMs?: number, options: AiCanvasWsOptions = {}): Promise<Node> {
  const broker = redisBroker({ redis: { port }, ...leaseMs !== undefined && { leaseMs } })
  const { app, url } = await startApp(t, { allowCancel: true, ...options, broker })
  return { manager: app.wsManager, url }
}

async function publish (t: Test, { port }: { readonly port: number }, options: Partial<PublisherOptions> = {}): Promise<Publisher> {
  const publisher = await createPublisher({ redis: { port }, log: fakeLogger(), ...options })
  t.teardown(() => publisher.close())
  return publisher
}

/** Fails the process if it loads what only a web server needs. */
const GUARD = `data:text/javascript,${encodeURIComponent(`import { register } from 'node:module'
register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(`export function resolve (name, context, next) {
  if (/^(?:fastify|fastify-plugin|ws|@fastify\\/websocket)$/.test(name)) throw new Error('a worker loads ' + name)
  return next(name, context)
}`)}))`)}`

/** Starts a script in a process of its own. */
function startScript (t: Test, name: string, { port }: RedisServer, leaseMs = 30_000): Child {
  const script = new URL(`../support/scripts/${name}`, import.meta.url).pathname
  return new Child(t, process.execPath, [...RUN_TYPESCRIPT, `--import=${GUARD}`, script], {
    ...process.env, ...NOT_MEASURED, REDIS_PORT: String(port), LEASE_MS: String(leaseMs)
  })
}

/** Starts a worker, and waits until it is ready. */
async function startWorker (t: Test, server: RedisServer, leaseMs?: number): Promise<Child> {
  const worker = startScript(t, 'worker.ts', server, leaseMs)
  t.equal(await worker.next(), 'ready')
  return worker
}

t.test('a publisher sends everything that an app sends, and clients of an app receive it', options, async (t) => {
  const server = await startRedis(t)
  const node = await startNode(t, server)
  const publisher = await publish(t, server)
  const client = await follow(t, node)
  const reader = await connect(t, node.url('?userId=u&sessionId=own'))
  const { runAI } = publisher
  t.match(await runAI('s', { prompt: 'x' }, ['Once ', 'upon ', 'a time 💡'], { jobId: 'j', text: true }), { status: 'complete', text: TEXT })
  t.match(await ended(client), { status: 'complete', text: TEXT, result: { chunks: 3 } })

  const chunks: string[] = []
  for await (const chunk of publisher.trackAI('own', {}, ['a', 'b'], { jobId: 't' })) chunks.push(chunk)
  t.same(chunks, ['a', 'b'])
  t.match(await reader.nextOf('ai_complete'), { jobId: 't' })

  t.match(await publisher.notifyAIStart('own', {}, { jobId: 'n' }), { recipients: 0, jobId: 'n', seq: 3 }, 'the recipients are those of this process')
  await publisher.notifyAIProgress('own', { delta: 'x' }, { jobId: 'n' })
  await publisher.notifyAIComplete('own', {}, { jobId: 'n' })
  t.match(await reader.nextOf('ai_complete'), { jobId: 'n' })
  await publisher.notifyAIError('own', new Error('no'), { jobId: 'e' })
  t.match(await reader.nextOf('ai_error'), { jobId: 'e' })

  await publisher.broadcastToSession('own', { type: 'to session' })
  await publisher.broadcastToUser('u', { type: 'to user' })
  await publisher.broadcast({ type: 'to all' })
  const batcher = publisher.createBatcher('own')
  batcher.push({ n: 1 })
  batcher.close()
  for (const type of ['to session', 'to user', 'to all', 'batch_update']) t.match(await reader.nextOf(type), { type })

  const job = node.manager.startAI('own', {}, { jobId: 'moved' })
  await job.transfer()
  const moved = await publisher.adoptAI('own', 'moved')
  t.match(await moved?.complete({ by: 'worker' }), { jobId: 'moved' })
  t.match(await reader.nextOf('ai_complete'), { jobId: 'moved', result: { by: 'worker' } })

  await publisher.revoke('u')
  t.match(await publisher.getClusterStats(), { nodes: [{ node: /./ }, { node: /./ }], missing: [] })
  t.same(await publisher.disconnectUser('u'), { connections: 0, missing: [] })
  t.match(await reader.closed, { code: 4502 })
  t.match(publisher.getMetrics(), { failed: 0, totalConnections: 0, broker: { state: 'ready' } })
})

t.test('a cancel reaches the publisher that runs the job', options, async (t) => {
  const server = await startRedis(t)
  const node = await startNode(t, server)
  const cancelled: unknown[] = []
  const publisher = await publish(t, server, { onCancel: (job) => { cancelled.push(job) } })
  const reader = await connect(t, node.url('?sessionId=s'))
  const cancel = async (jobId: string): Promise<void> => {
    reader.send({ type: 'cancel', sessionId: 's', jobId })
    t.match(await reader.nextOf('cancelling'), { jobId })
  }
  const endless = (signal: AbortSignal): AsyncIterable<string> => ({
    [Symbol.asyncIterator]: () => ({ next: () => new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) }) })
  })
  const run = publisher.runAI('s', {}, endless, { jobId: 'run' })
  const tracked = t.rejects(publisher.trackAI('s', {}, endless, { jobId: 'tracked' }).next(), { name: 'AbortError' })
  const started = publisher.startAI('s', {}, { jobId: 'started' })
  await publisher.notifyAIStart('s', {}, { jobId: 'reported' })
  for (const jobId of ['run', 'tracked', 'started', 'reported']) await cancel(jobId)
  t.match(await run, { status: 'cancelled' })
  await tracked
  t.equal(started.signal.aborted, true)
  t.same(cancelled, [{ sessionId: 's', jobId: 'reported' }], 'the hook is asked for a job without a handle only')
  const own = node.manager.startAI('s', {}, { jobId: 'of the app' })
  await own.started
  t.equal(await publisher.cancelAI('s', { jobId: 'of the app' }), true)
  t.equal(own.signal.aborted, true, 'and its own cancel reaches the app')
})

t.test('a job without reports ends as stalled', options, async (t) => {
  const server = await startRedis(t)
  const client = await follow(t, await startNode(t, server))
  const publisher = await publish(t, server, { jobs: { stallAfterMs: 200 }, history: false })
  await publisher.notifyAIStart('s', {}, { jobId: 'j' })
  t.match(await ended(client), { error: { type: 'stalled' } })
})

t.test('a worker in a process of its own streams text, and loads no web server', options, async (t) => {
  const server = await startRedis(t)
  const node = await startNode(t, server)
  const client = await follow(t, node)
  const worker = await startWorker(t, server)
  t.match(await new Child(t, process.execPath, [`--import=${GUARD}`, '--input-type=module', '--eval', 'import "ws"']).exited, { code: 1, stderr: /a worker loads ws/ })
  worker.write('tell')
  t.match(await ended(client), { status: 'complete', text: TEXT, result: { chunks: 3 } })
})

t.test('a cancel reaches a worker in a process of its own', options, async (t) => {
  const server = await startRedis(t)
  const client = await follow(t, await startNode(t, server))
  const worker = await startWorker(t, server)
  worker.write('run')
  await until(() => (jobOf(client)?.text.length ?? 0) > 20)
  client.cancel('s', 'j')
  t.equal(await worker.next(), 'cancelled cancelled')
  t.match(await ended(client), { error: { type: 'cancelled' } })
  worker.write('close')
  t.equal(await worker.next(), 'closed')
  t.match(await worker.exited, { code: 0 }, 'nothing keeps the process alive')
})

t.test('a worker that is closed in the middle of a job ends it as interrupted', options, async (t) => {
  const server = await startRedis(t)
  const client = await follow(t, await startNode(t, server))
  const ends = endsOf(client)
  const worker = await startWorker(t, server)
  worker.write('run')
  await until(() => (jobOf(client)?.text.length ?? 0) > 20)
  worker.write('close')
  const lines = [await worker.next(), await worker.next()].sort()
  t.same(lines, ['closed', 'error interrupted'])
  t.match(await ended(client), { error: { type: 'interrupted' } })
  t.match(await worker.exited, { code: 0, stderr: '' })
  t.same(ends, ['ai_error j'])
})

t.test('a worker that is killed: its job ends as stalled within its lease and a third, once', options, async (t) => {
  const leaseMs = 3_000
  const server = await startRedis(t)
  const client = await follow(t, await startNode(t, server, leaseMs))
  const ends = endsOf(client)
  const worker = await startWorker(t, server, leaseMs)
  worker.write('run')
  await until(() => (jobOf(client)?.text.length ?? 0) > 20)
  worker.process.kill('SIGKILL')
  await worker.exited
  const since = performance.now()
  t.match(await ended(client), { error: { type: 'stalled' } })
  const ms = Math.round(performance.now() - since)
  t.comment(`after ${ms} ms, with a lease of ${leaseMs} ms`)
  // The margin is for a busy machine.
  t.ok(ms < leaseMs * 4 / 3 + 10_000)
  await until(async () => await server.command('ZCARD', 'aicw:1:{ctl}nodes') === 1)
  t.same(ends, ['ai_error j'])
})

t.test('a script whose job ends while Redis is away lives until the end is published', options, async (t) => {
  const server = await startRedis(t)
  const script = startScript(t, 'lone-worker.ts', server)
  t.equal(await script.next(), 'started')
  await server.kill()
  t.equal(await script.next(), 'away')
  // Longer than one attempt to reconnect, with nothing but a timer in between.
  await new Promise((resolve) => { setTimeout(resolve, 500) })
  await server.restart()
  t.equal(await script.next(), 'ended j')
  t.match(await script.exited, { code: 0 })
  t.match(await ended(await follow(t, await startNode(t, server))), { status: 'complete', text: 'x' })
})

t.test('a publisher without Redis is refused, and the error names the fix', options, async (t) => {
  const server = await startRedis(t)
  await server.kill()
  await t.rejects(createPublisher({ redis: { port: server.port } }), {
    message: `Redis can't be reached: connect ECONNREFUSED 127.0.0.1:${server.port} (start Redis, or correct the option "redis")`
  })
})

t.test('Redis is away while a publisher closes: it waits no longer than its limit, and logs what is missing', options, async (t) => {
  const server = await startRedis(t)
  const log = fakeLogger()
  const publisher = await createPublisher({ redis: { port: server.port }, log, closeTimeoutMs: 1_000 })
  await publisher.notifyAIStart('s', {}, { jobId: 'j' })
  await server.kill()
  await until(() => publisher.getMetrics().broker.state === 'unavailable')
  const since = performance.now()
  void publisher.notifyAIComplete('s', {}, { jobId: 'j' })
  await publisher.close()
  const ms = performance.now() - since
  t.ok(ms > 400, 'it waits for Redis to come back')
  t.ok(ms < 20_000)
  t.ok(log.entries.some(({ level, message }) => level === 'error' && message === 'a notification failed'))
})

t.test('Redis hangs while a worker closes: it waits no longer than its limit, and the process ends', options, async (t) => {
  const server = await startRedis(t)
  const client = await follow(t, await startNode(t, server))
  const worker = await startWorker(t, server)
  worker.write('run')
  await until(() => jobOf(client) !== undefined)
  server.signal('SIGSTOP')
  const since = performance.now()
  worker.write('close')
  t.same([await worker.next(), await worker.next()].sort(), ['closed', 'error interrupted'])
  const ms = Math.round(performance.now() - since)
  t.ok(ms < 20_000, `closed after ${ms} ms, with a limit of 5000 ms`)
  t.match(await worker.exited, { code: 0, stderr: /a shutdown step timed out|a notification failed/ })
  t.comment(`ended after ${Math.round(performance.now() - since)} ms`)
})

t.test('a closed publisher says so, and is closed once', options, async (t) => {
  const server = await startRedis(t)
  const log = fakeLogger()
  const publisher = await createPublisher({ redis: `redis://127.0.0.1:${server.port}`, log })
  const job = publisher.startAI('s', {}, { jobId: 'j' })
  await job.started
  await Promise.all([publisher.close(), publisher.close(), publisher[Symbol.asyncDispose]()])
  const closed = { code: 'AICW_ERR_PUBLISHER_CLOSED' }
  const calls: Array<Promise<unknown>> = [
    publisher.notifyAIStart('s', {}), publisher.notifyAIProgress('s', {}), publisher.notifyAIComplete('s', {}), publisher.notifyAIError('s', new Error('x')),
    publisher.adoptAI('s', 'j'), publisher.runAI('s', {}, []), publisher.cancelAI('s'), publisher.broadcastToSession('s', { type: 'x' }),
    publisher.broadcastToUser('u', { type: 'x' }), publisher.broadcast({ type: 'x' }), publisher.revoke('u')
  ]
  for (const call of calls) await t.rejects(() => call, closed)
  t.throws(() => publisher.startAI('s', {}), closed)
  t.throws(() => publisher.trackAI('s', {}, []), closed)
  t.throws(() => publisher.createBatcher('s'), closed)
  t.same(await job.complete({}), { recipients: 0 }, 'its job has ended as interrupted')
  // Not awaited, it is no unhandled rejection.
  void publisher.notifyAIComplete('s', {})
  await new Promise((resolve) => { setImmediate(resolve) })
  t.equal(log.entries.filter(({ message }) => message === 'a notification failed').length, calls.length + 1)
})

t.test('without a logger, warnings and errors are warnings of the process', options, async (t) => {
  const server = await startRedis(t)
  const line = await Line.to(server.port)
  t.teardown(() => { line.close() })
  const warnings: Array<Error & { detail?: string }> = []
  // Instead of the listener of Node.js, which writes to stderr.
  const printers = process.rawListeners('warning') as NodeJS.WarningListener[]
  process.removeAllListeners('warning').on('warning', (warning) => { warnings.push(warning) })
  t.teardown(() => {
    process.removeAllListeners('warning')
    for (const print of printers) process.on('warning', print)
  })
  const publisher = await createPublisher({ redis: { port: line.port } })
  t.teardown(() => publisher.close())
  line.cut()
  await until(() => publisher.getMetrics().broker.state === 'unavailable')
  await t.rejects(publisher.broadcast({ type: 'x' }), /Redis can't be reached/)
  await until(() => warnings.some(({ message }) => message === 'the status of the broker has changed'))
  line.mend()
  await until(() => publisher.getMetrics().broker.state === 'ready')
  const ours = warnings.filter(({ name }) => name === 'AiCanvasWsWarning')
  t.ok(ours.some(({ message, detail }) => message === 'the status of the broker has changed' && detail?.includes('unavailable')))
  t.match(ours.find(({ message }) => message === 'a notification failed'), { detail: /what: 'broadcast'/ })
  t.notMatch(ours.map(({ detail }) => detail).join(), /ready/, 'what needs no attention is not shown')
})

t.test('an option that is wrong or makes no sense is refused', async (t) => {
  const create = (options: unknown): Promise<unknown> => createPublisher(options as PublisherOptions)
  const redis = { port: 1 }
  const invalid = (message: RegExp): { code: string, message: RegExp } => ({ code: 'AICW_ERR_INVALID_OPTION', message })
  await t.rejects(create(undefined), invalid(/^option "redis" needs connection settings/))
  await t.rejects(create({ redis: 6379 }), invalid(/^option "redis" needs connection settings/))
  await t.rejects(create({ redis, authenticate: () => true }), invalid(/^option "authenticate" is not an option of createPublisher\(\), which has no routes and no clients: its options are redis, prefix, leaseMs, log, /))
  await t.rejects(create({ redis, broker: redisBroker({ redis }) }), invalid(/^option "broker" is not/))
  await t.rejects(create({ redis, prefix: 'a b' }), invalid(/^option "prefix" must consist of/))
  await t.rejects(create({ redis, leaseMs: 1 }), invalid(/^option "leaseMs" must be an integer/))
  await t.rejects(create({ redis, log: null }), invalid(/^option "log" must be a logger with the methods debug, info, warn, error/))
  await t.rejects(create({ redis, log: { info: () => undefined } }), invalid(/^option "log"/))
  await t.rejects(create({ redis, jobs: { stallAfterMs: 0 } }), invalid(/^option "jobs.stallAfterMs" must be a number above 0/))
  await t.rejects(create({ redis, history: { maxTotalBytes: 1 } }), invalid(/^option "history.maxTotalBytes" is not supported/))
  await t.rejects(create({ redis, onCancel: true }), invalid(/^option "onCancel" must be a function/))
  await t.rejects(create({ redis, closeTimeoutMs: -1 }), invalid(/^option "closeTimeoutMs"/))
  const cluster = { options: {}, isCluster: true, duplicate: () => undefined }
  await t.rejects(create({ redis: cluster }), invalid(/^option "redis" is a client of Redis Cluster/))
})

t.test('the names of the options are those of the types', (t) => {
  const settings = { host: 'h', maxLoadingRetryTime: 1 }
  const client = new Redis({ lazyConnect: true })
  const accepted: PublisherOptions[] = [
    { redis: settings }, { redis: client.options }, { redis: client }, { redis: 'redis://h' }, { redis: { sentinels: [{ host: 'h', port: 1 }], name: 'm', tls: {} } }
  ]
  // @ts-expect-error a port is a number
  accepted.push({ redis: { port: '6379' } })
  t.equal(accepted.length, 6)
  t.notOk(readFileSync(new URL('../../lib/redis/client.ts', import.meta.url), 'utf8').includes('from \'ioredis\''), 'without the types of an optional package')
  t.end()
})

t.test('without a client library, the error names the package to install', async (t) => {
  const { clientFactory } = await t.mockImport<typeof clients>('../../lib/redis/client.js', {
    ioredis: { get Redis () { throw new Error('Cannot find package') } }
  })
  await t.rejects(clientFactory({}), { message: /^ai-canvas-ws\/redis can't load a Redis client: install ioredis 6/, cause: { message: 'Cannot find package' } })
})
