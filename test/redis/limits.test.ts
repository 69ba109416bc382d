import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import { redisBroker } from '../../lib/redis/index.js'
import { startApp } from '../support/app.js'
import { isReady, startNode } from '../support/redis-apps.js'
import { startRedis } from '../support/redis-nodes.js'
import { withoutRedis, type RedisServer } from '../support/redis-server.js'
import { ended, endsOf, follow } from '../support/sessions.js'
import { until } from '../support/until.js'
import { connect } from '../support/ws-client.js'

// Settings and contents of Redis that limit what the broker can do.

const options = { skip: withoutRedis, timeout: 25_000 }

/** Writes data of other programs until Redis has no room for 1 KiB. */
async function fill (server: RedisServer): Promise<void> {
  await server.command('CONFIG', 'SET', 'maxmemory', String(Number(/used_memory:(\d+)/.exec(String(await server.command('INFO', 'memory')))?.[1]) + 400_000))
  for (const size of [20_000, 1_000, 100]) {
    let n = 0
    while (await server.command('SET', `other:${size}:${n++}`, 'x'.repeat(size)).then(() => true, () => false)) { /* There is room for more. */ }
  }
}

t.test('with noeviction and a full memory, publishes fail and nothing is half done; ends are delivered when there is room again', options, async (t) => {
  const server = await startRedis(t, '--maxmemory-policy', 'noeviction')
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const client = await follow(t, b)
  const ends = endsOf(client)
  const reader = await connect(t, b.url('?sessionId=s'))
  await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
  await a.manager.notifyAIProgress('s', { delta: 'Once ' }, { jobId: 'j' })
  await a.manager.broadcastToSession('s', { type: 'note', n: 1 })
  // Less than it has: buffers that Redis frees make no room.
  await server.command('CONFIG', 'SET', 'maxmemory', '1')
  const failed = await a.manager.broadcastToSession('s', { type: 'note', n: 'refused', filler: 'x'.repeat(1_000) }).catch((error: unknown) => error)
  t.match(failed, { message: /Redis has reached its maxmemory: raise it, or lower the limits of history/ })
  const end = a.manager.notifyAIComplete('s', { n: 1 }, { jobId: 'j' })
  t.equal(a.broker.status?.().state, 'ready')
  await server.command('CONFIG', 'SET', 'maxmemory', '0')
  await end
  t.match(await ended(client, 'j'), { status: 'complete', result: { n: 1 } })
  t.same(ends, ['ai_complete j'])
  await a.manager.broadcastToSession('s', { type: 'note', n: 2 })
  await a.manager.broadcastToSession('s', { type: 'note', n: 3 })
  for (const n of [1, 2, 3]) t.match(await reader.nextOf('note'), { n }, 'what was refused was not delivered, and what follows is')
  t.match(await ended(await follow(t, b), 'j'), { status: 'complete', text: 'Once ' })
})

t.test('with volatile-ttl and a full memory, old messages go first, and a running job whose state is evicted continues with its whole text', options, async (t) => {
  const server = await startRedis(t, '--maxmemory-policy', 'volatile-ttl')
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const client = await follow(t, b)
  const ends = endsOf(client)
  await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
  await a.manager.notifyAIProgress('s', { delta: 'Once ' }, { jobId: 'j' })
  for (let n = 0; n < 100; n++) await a.manager.broadcastToSession(`other ${n}`, { type: 'note', filler: 'x'.repeat(2_000) })
  await fill(server)
  t.equal(await server.command('EXISTS', 'aicw:1:{ctl}gen'), 1, 'the generation has no lifetime, so it stays')
  await server.command('CONFIG', 'SET', 'maxmemory', '0')
  await isReady(a, b)
  await a.manager.notifyAIProgress('s', { delta: 'upon ' }, { jobId: 'j' })
  await a.manager.notifyAIProgress('s', { delta: 'a time' }, { jobId: 'j' })
  await a.manager.notifyAIComplete('s', {}, { jobId: 'j' })
  t.match(await ended(client, 'j'), { status: 'complete', text: 'Once upon a time' })
  t.same(ends, ['ai_complete j'])
  t.match(await ended(await follow(t, a), 'j'), { status: 'complete', text: 'Once upon a time' })
})

t.test('a key of another type concerns its stream alone', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const other = await connect(t, b.url('?sessionId=other'))
  for (const kind of ['m', 'l', 'j']) {
    const session = `of ${kind}`
    const reader = await connect(t, b.url(`?sessionId=${session}`))
    await a.manager.notifyAIStart(session, {}, { jobId: 'j' })
    await a.manager.broadcastToSession(session, { type: 'note' })
    const [key] = await server.command('KEYS', `aicw:1:*}${kind}:session:${session}`) as string[]
    await server.command('DEL', key!)
    if (kind === 'l') await server.command('SET', key!, 'mine')
    else await server.command('RPUSH', key!, 'mine')
    await t.rejects(a.manager.broadcastToSession(session, { type: 'note' }).then(() => a.manager.notifyAIStart(session, {}, { jobId: 'k' })), /another type: it belongs to another program/)
    // The node synchronises all of its streams.
    b.line.cut()
    b.line.mend()
    await until(() => b.broker.status?.().state !== 'ready')
    await isReady(b)
    if (kind === 'm') t.match(await reader.closed, { code: 1013 }, `${kind}: the stream's subscribers are disconnected`)
    await a.manager.broadcastToSession('other', { type: 'note', kind })
    t.match(await other.nextOf('note'), { kind }, 'other streams continue')
    await server.command('DEL', key!)
  }
  await server.command('DEL', 'aicw:1:{ctl}gen')
  await server.command('RPUSH', 'aicw:1:{ctl}gen', 'mine')
  await t.rejects(startNode(t, server), /another type: it belongs to another program/)
})

t.test('two apps with two prefixes on one Redis see nothing of each other', options, async (t) => {
  const server = await startRedis(t)
  const start = async (prefix: string, db: number) => await startApp(t, { broker: redisBroker({ redis: { port: server.port, db }, prefix }) })
  const apps = [await start('one', 0), await start('two', 0), await start('one.two', 1)] as const
  const readers = await Promise.all(apps.map(({ url }) => connect(t, url('?userId=u&sessionId=s'))))
  for (const [at, { app }] of apps.entries()) {
    await app.wsManager.notifyAIStart('s', {}, { jobId: `job of ${at}` })
    await app.wsManager.broadcast({ type: 'note', at })
  }
  await apps[0].app.wsManager.revoke('u', 's')
  t.match((await readers[0]!.sync()).map(({ type }) => type), ['ai_start', 'note', 'unsubscribed'])
  for (const at of [1, 2]) t.match(await readers[at]!.sync(), [{ type: 'ai_start', jobId: `job of ${at}`, seq: 1 }, { type: 'note', at }])
})

t.test('an older version is refused, with an error that names the fix', options, async (t) => {
  const sockets = new Set<Socket>()
  const old = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined))
    socket.on('data', (data: Buffer) => {
      // Each command is an array of strings.
      for (const command of data.toString().split(/\*\d+\r\n/).slice(1)) {
        const info = 'redis_version:6.2.14\r\nrun_id:1\r\nloading:0\r\n'
        socket.write(/\binfo\b/i.test(command) ? `$${info.length}\r\n${info}\r\n` : '+OK\r\n')
      }
    })
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    old.close()
    for (const socket of sockets) socket.destroy()
  })
  await once(old, 'listening')
  await t.rejects(startApp(t, { broker: redisBroker({ redis: { port: (old.address() as AddressInfo).port } }) }), /needs Redis 7 or later, or Valkey, but the server has version 6.2.14: upgrade it/)
})
