import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { redisBroker } from '../../lib/redis/index.js'
import type { Stream } from '../../lib/streams/broker.js'
import { RecordingNode } from '../../lib/testing/recording-node.js'
import { brokerSettings, isReady, startNode, type Node } from '../support/redis-apps.js'
import { Line } from '../support/redis-fixture.js'
import { startRedis } from '../support/redis-nodes.js'
import { freePort, withoutRedis } from '../support/redis-server.js'
import { redisServer } from '../support/real-parts.js'
import { ended, endsOf, follow } from '../support/sessions.js'
import { until } from '../support/until.js'
import { connect } from '../support/ws-client.js'

// A Redis that comes back without the newest part of its data.

const options = { skip: withoutRedis, timeout: 60_000 }

async function report ({ manager }: Node, pieces: readonly string[]): Promise<void> {
  for (const delta of pieces) await manager.notifyAIProgress('s', { delta }, { jobId: 'j' }).catch(() => undefined)
}

t.test('the tail of the append-only file is cut: followers are told, and get the producer\'s text and each end once', options, async (t) => {
  const server = await startRedis(t, '--appendonly', 'yes', '--appendfsync', 'always')
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const clients = [await follow(t, a), await follow(t, b)]
  const ends = clients.map(endsOf)
  const gaps: string[] = []
  for (const client of clients) client.on('gap', ({ reason }) => { gaps.push(reason) })
  await a.manager.notifyAIStart('s', { prompt: 'x' }, { jobId: 'j' })
  await report(a, ['Once ', 'upon '])
  await a.manager.broadcastToSession('s', { type: 'note', n: 1 })
  const directory = join(server.directory, 'appendonlydir')
  const file = join(directory, readdirSync(directory).find((name) => name.endsWith('.incr.aof'))!)
  const size = statSync(file).size
  const survived = await connect(t, b.url('?sessionId=s'))
  const { epoch } = await a.manager.broadcastToSession('s', { type: 'note', n: 2 })
  // All of this is lost.
  await report(a, ['a ', 'time '])
  await a.manager.notifyAIComplete('s', { n: 1 }, { jobId: 'done' })
  await a.manager.broadcastToSession('s', { type: 'note', n: 3 })
  for (const client of clients) await ended(client, 'done')
  await survived.close()
  await server.kill()
  truncateSync(file, size)
  await server.restart()
  await isReady(a, b)
  await until(() => gaps.length === 2)
  t.same(gaps, ['restarted', 'restarted'], 'followers are told')
  await report(a, ['there ', 'was'])
  const late = await follow(t, b)
  t.match(await a.manager.notifyAIComplete('s', { n: 2 }, { jobId: 'j' }), { jobId: 'j' })
  for (const client of [...clients, late]) t.match(await ended(client), { status: 'complete', text: 'Once upon a time there was', result: { n: 2 } })
  for (const told of ends) t.same(told, ['ai_complete done', 'ai_complete j'], 'each end was reported once')
  // Positions: 2 is the note that survived, 3 and later ones were lost.
  const recovered = await connect(t, b.url(`?sessionId=s&since=${epoch}:2`))
  t.match(JSON.parse(recovered.received[0]!), { recovered: true }, 'a position before the loss stays valid')
  const lost = await connect(t, b.url(`?sessionId=s&since=${epoch}:5`))
  t.match(JSON.parse(lost.received[0]!), { recovered: false, reason: 'restarted' }, 'a position after it does not')
})

/** A primary, a replica and a sentinel that watches them. */
async function startSentinel (t: Test) {
  const [primary, replica] = [await startRedis(t), await startRedis(t)]
  await replica.command('REPLICAOF', '127.0.0.1', String(primary.port))
  await until(async () => String(await replica.command('INFO', 'replication')).includes('master_link_status:up'))
  const [port, directory] = [await freePort(), mkdtempSync(join(tmpdir(), 'aicw-sentinel-'))]
  writeFileSync(join(directory, 'sentinel.conf'), `port ${port}
dir ${directory}
sentinel monitor app 127.0.0.1 ${primary.port} 1
sentinel down-after-milliseconds app 1000
sentinel failover-timeout app 5000
`)
  const sentinel = spawn(redisServer.find()!, [join(directory, 'sentinel.conf'), '--sentinel'], { stdio: 'ignore' })
  t.teardown(async () => {
    const exited = once(sentinel, 'exit')
    sentinel.kill('SIGKILL')
    await exited
    rmSync(directory, { recursive: true, force: true })
  })
  const { Redis } = await import('ioredis')
  const watch = new Redis({ port }).on('error', () => undefined)
  t.teardown(() => { watch.disconnect() })
  const ask = async (...args: string[]): Promise<unknown> => await watch.call('SENTINEL', ...args).catch(() => undefined)
  await until(async () => String(await ask('replicas', 'app')).includes('master-link-status,ok'))
  return { primary, replica, port, primaryPort: async () => Number((await ask('get-master-addr-by-name', 'app') as string[])[1]) }
}

t.test('a replica that lags becomes the primary: clients converge to the producer\'s text, and get one end of each job', options, async (t) => {
  const { primary, replica, port, primaryPort } = await startSentinel(t)
  // The first sentinel can't be reached.
  const settings = { sentinels: [{ host: '127.0.0.1', port: await freePort() }, { host: '127.0.0.1', port }], name: 'app' }
  const [a, b] = [await startNode(t, primary, 5_000, {}, settings), await startNode(t, primary, 5_000, {}, settings)]
  const clients = [await follow(t, a), await follow(t, b)]
  const ends = clients.map(endsOf)
  await a.manager.notifyAIStart('s', { prompt: 'x' }, { jobId: 'j' })
  await report(a, ['Once ', 'upon '])
  await primary.command('WAIT', '1', '0')
  // The replica lags: it does not get what comes now.
  replica.signal('SIGSTOP')
  t.teardown(() => { replica.signal('SIGCONT') })
  await report(a, ['a ', 'time '])
  await b.manager.notifyAIStart('s', {}, { jobId: 'new' })
  await b.manager.notifyAIProgress('s', { delta: 'lost' }, { jobId: 'new' })
  await a.manager.notifyAIComplete('s', { n: 1 }, { jobId: 'done' })
  for (const client of clients) await ended(client, 'done')
  const gaps: string[] = []
  for (const client of clients) client.on('gap', ({ reason }) => { gaps.push(reason) })
  await primary.kill()
  replica.signal('SIGCONT')
  await until(async () => await primaryPort() === replica.port)
  await isReady(a, b)
  // Each client has its snapshot. One from after both ends would contain only the newest of them.
  await until(() => gaps.length === 2)
  await report(a, ['there ', 'was'])
  await b.manager.notifyAIProgress('s', { delta: ' and found' }, { jobId: 'new' })
  t.match(await a.manager.notifyAIComplete('s', { n: 2 }, { jobId: 'j' }), { jobId: 'j' })
  t.match(await b.manager.notifyAIComplete('s', { n: 3 }, { jobId: 'new' }), { jobId: 'new' })
  const late = await follow(t, b)
  for (const client of clients) {
    t.match(await ended(client), { status: 'complete', text: 'Once upon a time there was', result: { n: 2 } })
    t.match(await ended(client, 'new'), { status: 'complete', text: 'lost and found', result: { n: 3 } })
  }
  t.match(await ended(late, 'new'), { text: 'lost and found' })
  for (const told of ends) t.same(told, ['ai_complete done', 'ai_complete j', 'ai_complete new'], 'each end was reported once')
})

const STREAMS = 5_000

t.test('5,000 followed streams continue after a reconnect, and after a restart of Redis, in bounded time', { ...options, timeout: 90_000 }, async (t) => {
  const server = await startRedis(t, '--appendonly', 'yes')
  const line = await Line.to(server.port)
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: line.port } })
  t.teardown(async () => {
    await broker.close()
    line.close()
  })
  const joined = new Map<Stream, Promise<unknown>>()
  let [restarts, delivered] = [0, 0]
  const node = new class extends RecordingNode {
    override deliver (): number {
      return ++delivered
    }

    override restarted (stream: Stream): void {
      restarts++
      joined.set(stream, broker.join(stream) as Promise<unknown>)
    }
  }()
  await broker.open(node, brokerSettings)
  const streams = Array.from({ length: STREAMS }, (_, n) => `session:${n}` as const)
  await Promise.all(streams.map(async (stream) => await broker.join(stream)))
  await Promise.all(streams.map(async (stream) => await broker.publish(stream, '{"type":"note"}', { durable: true })))
  t.equal(delivered, STREAMS)
  const commands = async (): Promise<number> => Number(/total_commands_processed:(\d+)/.exec(String(await server.command('INFO', 'stats')))![1])
  const isReady = (): boolean => broker.status?.().state === 'ready'
  let [since, executed] = [performance.now(), await commands()]
  line.cut()
  line.mend()
  await until(() => !isReady())
  await until(isReady)
  const cutMs = performance.now() - since
  t.ok(cutMs < 10_000, `a reconnect takes ${Math.round(cutMs)} ms and ${await commands() - executed} commands`)
  t.equal(restarts, 0)
  await server.kill()
  since = performance.now()
  await server.restart()
  await until(() => restarts === STREAMS)
  await Promise.all(joined.values())
  const restartMs = performance.now() - since
  executed = await commands()
  t.ok(restartMs < 20_000, `a restart of Redis takes ${Math.round(restartMs)} ms and ${executed} commands`)
  await until(isReady)
  await broker.publish(streams[0]!, '{"type":"note"}', { durable: true })
  await until(() => delivered === STREAMS + 1)
})
