import t from 'tap'
import { redisBroker } from '../../lib/redis/index.js'
import type { Broker, Published } from '../../lib/streams/broker.js'
import { checkDeliveries } from '../../lib/testing/delivery-rules.js'
import { RecordingNode } from '../../lib/testing/recording-node.js'
import { brokerSettings } from '../support/redis-apps.js'
import { Line } from '../support/redis-fixture.js'
import { RedisServer, withoutRedis } from '../support/redis-server.js'
import { until } from '../support/until.js'

const ROUNDS = 50
const stream = 'session:s'

/** Publishes until the outcome is known. The counter makes sure that it is published once. */
async function insist (broker: Broker, body: string, counter: number): Promise<Published> {
  for (;;) {
    try {
      return await broker.publish(stream, body, { durable: true, counter })
    } catch {
      await new Promise((resolve) => { setTimeout(resolve, 5) })
    }
  }
}

for (const what of ['all subscriptions', 'all connections for commands', 'both connections of one node', 'all connections'] as const) {
  t.test(`${what} are cut under load, again and again: three nodes deliver the same messages once, in one order`, { skip: withoutRedis, timeout: 60_000 }, async (t) => {
    const server = await RedisServer.start()
    t.teardown(() => server.stop())
    const nodes = await Promise.all([1, 2, 3].map(async () => {
      const [node, line] = [new RecordingNode(), await Line.to(server.port)]
      const broker = redisBroker({ redis: { host: '127.0.0.1', port: line.port } })
      await broker.open(node, brokerSettings)
      t.teardown(async () => {
        await broker.close()
        line.close()
      })
      node.record({ type: 'join', stream })
      node.record({ type: 'joined', stream, joined: await broker.join(stream) })
      return { node, broker, line }
    }))
    let isRunning = true
    let published = 0
    const publishing = nodes.map(async ({ broker }, at) => {
      for (let counter = 1; isRunning; counter++) {
        await Promise.all([0, 1, 2].map((n) => insist(broker, `{"n":"${at}.${counter}.${n}"}`, 3 * counter + n)))
        published += 3
      }
    })
    for (let round = 0; round < ROUNDS; round++) {
      await new Promise((resolve) => { setTimeout(resolve, 20) })
      if (what === 'all subscriptions') await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
      if (what === 'all connections for commands') await server.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      const cut = what === 'all connections' ? nodes : what === 'both connections of one node' ? [nodes[round % 3]!] : []
      for (const { line } of cut) line.cut()
      for (const { line } of cut) line.mend()
      await until(() => nodes.every(({ broker }) => broker.status?.().state === 'ready'))
    }
    isRunning = false
    await Promise.all(publishing)
    const { seq } = await insist(nodes[0]!.broker, '{"last":true}', 1_000_000)
    t.equal(seq, published + 1, `${published} messages, each was published once`)
    for (const { node } of nodes) {
      const messages = (await node.until(stream, '{"last":true}')).filter(({ durable }) => durable)
      checkDeliveries(node.events)
      t.same(messages.map((message) => message.seq), Array.from({ length: seq }, (_, n) => n + 1))
      t.same(node.all('restarted'), [])
    }
  })
}
