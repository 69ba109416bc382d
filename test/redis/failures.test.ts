import t from 'tap'
import { redisBroker, type RedisBrokerOptions } from '../../lib/redis/index.js'
import { startApp } from '../support/app.js'
import { isReady, startNode, type Node } from '../support/redis-apps.js'
import { startRedis } from '../support/redis-nodes.js'
import { withoutRedis } from '../support/redis-server.js'
import { ended, endsOf, follow } from '../support/sessions.js'
import { until } from '../support/until.js'
import { connect } from '../support/ws-client.js'

// Real apps, clients of the package and a real Redis server that the tests kill, stop and cut off.

const PIECES = ['Once ', 'upon ', 'a ', 'time 💡', ' there ', 'was ', 'a ', 'store ']
const TEXT = PIECES.join('')

/** Reports text piece by piece. While Redis is away the receipts reject, and the next progress brings the text. */
async function stream ({ manager }: Node): Promise<void> {
  for (const delta of PIECES) await manager.notifyAIProgress('s', { delta }, { jobId: 'j' }).catch(() => undefined)
}

const options = { skip: withoutRedis, timeout: 60_000 }

t.test('two apps share streams, jobs, texts and cancels', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server, 2_000, { allowCancel: true }), await startNode(t, server, 2_000, { allowCancel: true })]
  const clients = [await follow(t, a), await follow(t, b)]
  const job = a.manager.startAI('s', { prompt: 'x' }, { jobId: 'j' })
  for (const delta of PIECES) await job.progress({ delta })
  const late = await follow(t, b)
  const reader = await connect(t, b.url('?sessionId=s'))
  reader.send({ type: 'cancel', sessionId: 's', jobId: 'j' })
  t.match(await reader.nextOf('cancelling'), { jobId: 'j' })
  t.equal(job.signal.aborted, true, 'the cancel arrived at the other node')
  await job.complete({ chunks: 8 })
  for (const client of [...clients, late]) t.match(await ended(client), { status: 'complete', text: TEXT, result: { chunks: 8 } })
  await reader.close()
})

for (const [name, args] of [['empty', []], ['with its data', ['--appendonly', 'yes', '--appendfsync', 'always']]] as const) {
  t.test(`Redis is killed and comes back ${name}: a running job continues with its whole text, and ends once`, options, async (t) => {
    const server = await startRedis(t, ...args)
    const [a, b] = [await startNode(t, server), await startNode(t, server)]
    const clients = [await follow(t, a), await follow(t, b)]
    const ends = clients.map(endsOf)
    await a.manager.notifyAIStart('s', { prompt: 'x' }, { jobId: 'j' })
    await a.manager.notifyAIComplete('s', { n: 1 }, { jobId: 'done' })
    await stream(a)
    await Promise.all(clients.map((client) => ended(client, 'done')))
    await server.kill()
    await until(() => [a, b].every(({ broker }) => broker.status?.().state === 'unavailable'))
    await server.restart()
    await isReady(a, b)
    await stream(a)
    const late = await follow(t, b)
    t.match(await a.manager.notifyAIComplete('s', { chunks: 16 }, { jobId: 'j' }), { jobId: 'j' })
    for (const client of [...clients, late]) t.match(await ended(client), { status: 'complete', text: TEXT + TEXT, result: { chunks: 16 } })
    for (const told of ends) t.same(told, ['ai_complete done', 'ai_complete j'], 'each end was reported once')
  })
}

t.test('an end that is reported while Redis is away is delivered once when it is back', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const client = await follow(t, b)
  const ends = endsOf(client)
  await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
  await stream(a)
  await server.kill()
  const end = a.manager.notifyAIComplete('s', { ok: true }, { jobId: 'j' })
  await server.restart()
  t.match(await end, { jobId: 'j' })
  t.match(await ended(client), { status: 'complete', text: TEXT, result: { ok: true } })
  t.same(ends, ['ai_complete j'])
})

for (const type of ['pubsub', 'normal'] as const) {
  t.test(`the connections of the type ${type} are cut again and again: nothing is missing and nothing comes twice`, options, async (t) => {
    const server = await startRedis(t)
    const [a, b] = [await startNode(t, server), await startNode(t, server)]
    const reader = await connect(t, b.url('?sessionId=s'))
    let published = 0
    for (let round = 0; round < 10; round++) {
      for (let n = 0; n < 5; n++) {
        await until(async () => await a.manager.broadcastToSession('s', { type: 'note', n: published }).then(() => true, () => false))
        published++
      }
      await server.command('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes').catch(() => undefined)
      if (type === 'normal') await until(() => a.broker.status?.().state === 'ready')
    }
    await isReady(a, b)
    await until(async () => await a.manager.broadcastToSession('s', { type: 'last' }).then(() => true, () => false))
    const numbers: number[] = []
    for (let message = await reader.next(); message.type !== 'last'; message = await reader.next()) if (message.type === 'note') numbers.push(message.n as number)
    if (type === 'pubsub') t.same(numbers, Array.from({ length: published }, (_, n) => n))
    else t.same([...new Set(numbers)], Array.from({ length: published }, (_, n) => n), 'a publish whose outcome is unknown was repeated by the test')
  })
}

t.test('Redis hangs for 3 seconds: everything is delivered after it, once', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const reader = await connect(t, b.url('?sessionId=s'))
  server.signal('SIGSTOP')
  t.teardown(() => { server.signal('SIGCONT') })
  const receipts = Promise.all([1, 2, 3].map((n) => a.manager.broadcastToSession('s', { type: 'note', n })))
  await new Promise((resolve) => { setTimeout(resolve, 3_000) })
  server.signal('SIGCONT')
  t.match(await receipts, [{ seq: 1 }, { seq: 2 }, { seq: 3 }])
  for (const n of [1, 2, 3]) t.match(await reader.nextOf('note'), { n, seq: n })
})

t.test('a node that is gone is noticed when its lease has expired, and its jobs end as stalled, once', options, async (t) => {
  const server = await startRedis(t)
  const nodes = [await startNode(t, server, 3_000), await startNode(t, server, 3_000), await startNode(t, server, 3_000)] as const
  const client = await follow(t, nodes[2])
  const ends = endsOf(client)
  await nodes[0].manager.notifyAIStart('s', {}, { jobId: 'lost' })
  await nodes[0].manager.notifyAIStart('s', {}, { jobId: 'saved' })
  await nodes[1].manager.notifyAIProgress('s', {}, { jobId: 'saved' })
  const since = performance.now()
  nodes[0].line.cut()
  t.match(await ended(client, 'lost'), { error: { type: 'stalled' } })
  t.ok(performance.now() - since < 30_000, `after ${Math.round(performance.now() - since)} ms`)
  await nodes[1].manager.notifyAIComplete('s', {}, { jobId: 'saved' })
  await ended(client, 'saved')
  t.same(ends, ['ai_error lost', 'ai_complete saved'])
})

t.test('a node that stands still for longer than its lease carries out a revocation before it delivers what has arrived', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server, 3_000), await startNode(t, server, 3_000)]
  const reader = await connect(t, b.url('?userId=u&sessionId=s'))
  b.line.stall()
  await a.manager.broadcastToSession('s', { type: 'secret' })
  await until(async () => await a.manager.revoke('u', 's').then(() => true, () => false))
  b.line.resume()
  t.match(await reader.next(), { type: 'unsubscribed', sessionId: 's', reason: 'revoked' }, 'before anything else')
  t.same(await reader.sync(), [], 'the user reads nothing more')
})

t.test('a server that can\'t keep the promises is refused, with an error that names the fix', options, async (t) => {
  const server = await startRedis(t)
  const start = (settings: object = {}): Promise<unknown> => startNode(t, server).catch((error: unknown) => { throw Object.assign(error as Error, settings) })
  await server.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  await t.rejects(start(), { message: /CONFIG SET maxmemory-policy volatile-ttl/ })
  await server.command('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl')
  await server.command('SET', 'aicw:1:{ctl}nodes', 'mine')
  await t.rejects(start(), { message: /another type: it belongs to another program/ })
  await server.command('DEL', 'aicw:1:{ctl}nodes')
  await server.command('ACL', 'SETUSER', 'weak', 'on', '>secret', '~*', '&*', '+@all', '-fcall')
  const weak = redisBroker({ redis: { port: server.port, username: 'weak', password: 'secret' } })
  await t.rejects(startApp(t, { broker: weak }), { message: /fcall.*its README/ })
  await t.rejects(startApp(t, { broker: redisBroker({ redis: { port: server.port, username: 'weak', password: 'wrong' } }) }), { message: /Redis can't be reached: WRONGPASS/ })
  t.throws(() => redisBroker({} as RedisBrokerOptions), { message: /needs connection settings/ })
  t.throws(() => redisBroker({ redis: {}, prefix: 'a b' }), { message: /prefix/ })
  for (const nothing of [undefined, null]) t.throws(() => redisBroker(nothing as never), { message: /needs connection settings/ })
  const misspelled = { redis: {}, prefx: 'app' }
  t.throws(() => redisBroker(misspelled), { code: 'AICW_ERR_INVALID_OPTION', message: /"prefx" is unknown: the options of redisBroker\(\) are redis, prefix, leaseMs/ })
})

t.test('the statistics and disconnectUser reach all nodes', options, async (t) => {
  const server = await startRedis(t)
  const nodes = [await startNode(t, server), await startNode(t, server), await startNode(t, server)]
  const clients = await Promise.all(nodes.map((node) => connect(t, node.url('?userId=u&sessionId=s'))))
  const bystander = await connect(t, nodes[0]!.url('?userId=v'))
  const { clients: listed, nodes: counted, ...totals } = await nodes[1]!.manager.getClusterStats({ userId: 'u' })
  t.same(totals, { totalConnections: 4, activeConnections: totals.activeConnections, missing: [] })
  t.same(counted.map(({ totalConnections }) => totalConnections).sort(), [1, 1, 2])
  t.same(new Set(listed.map(({ id }) => id)), new Set(clients.map(({ clientId }) => clientId)))
  t.equal(new Set(listed.map(({ node }) => node)).size, 3)
  t.same(await nodes[2]!.manager.disconnectUser('u', 4001), { connections: 3, missing: [] })
  for (const client of clients) t.match(await client.closed, { code: 4001 })
  bystander.send({ type: 'ping' })
  t.match(await bystander.next(), { type: 'pong' })
})
