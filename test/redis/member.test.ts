import { once } from 'node:events'
import { connect as dial, createServer, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import { redisBroker } from '../../lib/redis/index.js'
import { RecordingNode } from '../../lib/testing/recording-node.js'
import { durable, json } from '../../lib/testing/reports.js'
import { FakeClock } from '../support/fake-clock.js'
import { brokerSettings, isReady, startNode } from '../support/redis-apps.js'
import { Line } from '../support/redis-fixture.js'
import { startRedis } from '../support/redis-nodes.js'
import { withoutRedis } from '../support/redis-server.js'
import { until } from '../support/until.js'
import { connect } from '../support/ws-client.js'

const options = { skip: withoutRedis, timeout: 60_000 }

t.test('a message of another program on a channel of ours is logged, and does no harm', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server)
  await server.command('PUBLISH', 'aicw:1:{ctl}all', '{"type":"disowned"}')
  await until(() => a.logged.some(({ msg }) => msg === 'a message of another node could not be handled'))
  t.match(await a.manager.broadcastToSession('s', { type: 'note' }), { seq: 1 })
})

t.test('a node whose two connections reach different servers does not start', options, async (t) => {
  const servers = [await startRedis(t), await startRedis(t)]
  const sockets = new Set<Socket>()
  let connections = 0
  const proxy = createServer((socket) => {
    const other = dial(servers[connections++ % 2]!.port, '127.0.0.1')
    for (const each of [socket, other]) {
      sockets.add(each)
      each.on('error', () => undefined).on('close', () => {
        socket.destroy()
        other.destroy()
      })
    }
    socket.pipe(other).pipe(socket)
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    proxy.close()
    for (const socket of sockets) socket.destroy()
  })
  await once(proxy, 'listening')
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: (proxy.address() as AddressInfo).port } })
  await t.rejects(Promise.resolve(broker.open(new RecordingNode(), brokerSettings)), /different servers/)
})

t.test('a join whose messages do not arrive is rejected', options, async (t) => {
  const server = await startRedis(t)
  const line = await Line.to(server.port)
  t.teardown(() => { line.close() })
  const clock = new FakeClock()
  const slow = redisBroker({ redis: { host: '127.0.0.1', port: line.port }, leaseMs: 600_000 })
  const other = redisBroker({ redis: { host: '127.0.0.1', port: server.port } })
  await slow.open(new RecordingNode(), { ...brokerSettings, clock })
  await other.open(new RecordingNode(), brokerSettings)
  await slow.join('session:s')
  line.vanish('subscriber')
  await other.publish('session:s', json('not seen'), durable)
  let outcome: unknown
  Promise.resolve(slow.join('session:s')).catch((error: unknown) => { outcome = error })
  await until(() => {
    clock.advance(1_000)
    return outcome !== undefined
  })
  t.match(outcome, { message: /the messages that a join covers did not arrive/ })
  await Promise.all([other.close(), (async () => {
    const closed = Promise.resolve(slow.close())
    clock.advance(10_000)
    await closed
  })()])
})

t.test('a stream that can\'t be read makes the node subscribe again, until it can', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server)
  const reader = await connect(t, a.url('?sessionId=s'))
  const { epoch } = await a.manager.broadcastToSession('s', { type: 'note', n: 1 })
  const [channel] = await server.command('PUBSUB', 'CHANNELS', '*session:s') as string[]
  await server.command('ACL', 'SETUSER', 'default', '-fcall')
  // A message far ahead: those before it seem to be missing.
  await server.command('PUBLISH', channel!, `${epoch} 99 1 0 0 0 0 0 0 0\n{"type":"note"}`)
  await until(() => a.logged.some(({ msg }) => /could not be synchronised|could not synchronise/.test(msg)))
  await server.command('ACL', 'SETUSER', 'default', '+fcall')
  await isReady(a)
  await until(() => a.manager.broadcastToSession('s', { type: 'note', n: 2 }).then(() => true, () => false))
  t.match(await reader.nextOf('note'), { n: 1 })
  t.match(await reader.nextOf('note'), { n: 2 })
})

t.test('a node that may not synchronise connects again and again, until it may', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server)
  const refusals = async (): Promise<number> => {
    const entries = await server.command('ACL', 'LOG') as unknown[][]
    return entries.reduce((sum, entry) => sum + Number(entry[entry.indexOf('count') + 1]), 0)
  }
  await server.command('ACL', 'SETUSER', 'default', '-fcall')
  a.line.cut()
  a.line.mend()
  await until(async () => await refusals() > 2)
  t.match(a.broker.status?.().state, 'unavailable')
  await server.command('ACL', 'SETUSER', 'default', '+fcall')
  await isReady(a)
  t.match(await a.manager.broadcastToSession('s', { type: 'note' }), { seq: 1 })
})

t.test('too many messages arrive while the lease has expired: the node reads them from the store later', options, async (t) => {
  const server = await startRedis(t)
  const line = await Line.to(server.port)
  t.teardown(() => { line.close() })
  const clock = new FakeClock()
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: line.port }, leaseMs: 3_000 })
  await broker.open(new RecordingNode(), { ...brokerSettings, clock })
  line.hold()
  clock.advance(3_001)
  await server.command('EVAL', 'for n = 1, 10002 do redis.call("PUBLISH", KEYS[1], "{}") end', '1', 'aicw:1:{ctl}all')
  await until(() => broker.status?.().state !== 'ready')
  const closed = Promise.resolve(broker.close())
  clock.advance(10_000)
  await closed
})

t.test('a loss of history is noticed without any call', options, async (t) => {
  const server = await startRedis(t)
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: server.port }, leaseMs: 3_000 })
  const node = new RecordingNode()
  await broker.open(node, brokerSettings)
  t.teardown(() => broker.close())
  await server.command('FLUSHALL')
  await until(() => node.all('reseed').length > 0)
  t.equal(broker.status?.().state, 'ready')
})

t.test('a node whose subscriptions Redis does not know any more subscribes again', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server, 3_000)
  const reader = await connect(t, a.url('?sessionId=s'))
  a.line.vanish('subscriber')
  await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until(() => a.broker.status?.().state !== 'ready')
  await isReady(a)
  await a.manager.broadcastToSession('s', { type: 'note' })
  await reader.nextOf('note')
})
