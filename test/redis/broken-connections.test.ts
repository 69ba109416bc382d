import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import { redisBroker } from '../../lib/redis/index.js'
import { startApp } from '../support/app.js'
import { isReady, startNode } from '../support/redis-apps.js'
import { startRedis } from '../support/redis-nodes.js'
import { withoutRedis } from '../support/redis-server.js'
import { timed } from '../support/timed.js'
import { until } from '../support/until.js'
import { connect } from '../support/ws-client.js'

// Connections that are broken without a sign of it.

const options = { skip: withoutRedis, timeout: 90_000 }

t.test('a command that is executed after the connection was given up publishes nothing twice', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server)
  const reader = await connect(t, a.url('?sessionId=s'))
  await a.manager.notifyAIStart('s', {})
  a.line.hold()
  // An end without an id is never refused.
  t.match(await a.manager.notifyAIComplete('s', { n: 1 }), { pending: true })
  t.match(await reader.nextOf('ai_complete'), { result: { n: 1 }, seq: undefined }, 'the client of this node gets it at once')
  t.match(await reader.nextOf('ai_complete'), { result: { n: 1 }, seq: 2 }, 'it is published again on a new connection')
  a.line.release()
  await until(() => a.line.held === 0)
  await isReady(a)
  t.match(await a.manager.notifyAIStart('s', {}), { seq: 3 })
  t.match(await reader.next(), { type: 'ai_start' }, 'nothing came in between')
})

t.test('a peer that has vanished without closing the connections is noticed, and nothing waits for it', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server, 6_000), await startNode(t, server, 6_000)]
  const reader = await connect(t, a.url('?sessionId=s'))
  // Only the subscriber: it is idle.
  a.line.vanish('subscriber')
  const since = performance.now()
  const receipts = []
  for (let n = 0; n < 3; n++) receipts.push(await timed(a.manager.broadcastToSession('s', { type: 'note', n })))
  t.ok(receipts[0]!.ms < 3_000)
  for (const { ms } of receipts.slice(1)) t.ok(ms < 500, `one publish waits for its own message, others do not: ${Math.round(ms)} ms`)
  await until(() => a.broker.status?.().state !== 'ready')
  t.ok(performance.now() - since < 15_000, `the subscriber: after ${Math.round(performance.now() - since)} ms`)
  await isReady(a)
  for (const n of [0, 1, 2]) t.match(await reader.nextOf('note'), { n })
  // Both, without any call.
  a.line.vanish()
  const again = performance.now()
  await until(() => a.broker.status?.().state === 'unavailable')
  t.ok(performance.now() - again < 15_000, `both: after ${Math.round(performance.now() - again)} ms`)
  await b.manager.broadcastToSession('s', { type: 'note', n: 3 })
  t.match(await reader.nextOf('note'), { n: 3 })
})

t.test('a server that accepts connections and says nothing does not keep the node from the next attempt', options, async (t) => {
  const sockets = new Set<Socket>()
  const silent = createServer((socket) => { sockets.add(socket.on('error', () => undefined)) }).listen(0, '127.0.0.1')
  t.teardown(() => {
    silent.close()
    for (const socket of sockets) socket.destroy()
  })
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  await t.rejects(startApp(t, { broker: redisBroker({ redis: { port } }) }), /did not answer within 5000 ms/)
})
