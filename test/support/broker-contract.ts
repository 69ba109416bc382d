import type { Test } from 'tap'
import type { Stream } from '../../lib/streams/broker.js'
import { jobsContract } from './broker-contract-jobs.js'
import { joinContract } from './broker-contract-join.js'
import { textContract } from './broker-contract-text.js'
import { FakeNode } from './broker-node.js'
import { durable, ephemeral, json, other, positionOf, session, starter, type MakeBroker, type Start } from './contract-stage.js'

/**
 * Tests the contract in `lib/streams/broker.ts`. Every broker must pass them, whether it returns values or promises. No test
 * waits for a fixed time: to check that nothing else was delivered, it publishes one more message and reads up to that.
 * Each broker tests on its own how long it keeps things.
 */
export function brokerContract (t: Test, makeBroker: MakeBroker): void {
  const start = starter(makeBroker)
  orderContract(t, start)
  joinContract(t, start)
  jobsContract(t, start)
  textContract(t, start)
  controlContract(t, start)

  t.test('a closed broker delivers nothing', async (t) => {
    const broker = await makeBroker()
    const node = new FakeNode()
    await broker.open(node)
    await broker.join(session)
    await broker.publish(session, json('a'), durable)
    await node.until(session, json('a'))
    await broker.close()
    // The broker may reject these calls, but it must not deliver them.
    await Promise.allSettled([
      (async () => broker.publish(session, json('b'), durable))(), (async () => broker.control({ type: 'revoke', userId: 'one' }))()
    ])
    t.equal(node.deliveries.length, 1)
    t.equal(node.controls.length, 0)
  })
}

function orderContract (t: Test, start: Start): void {
  t.test('publications are delivered once each, in the order of their revisions', async (t) => {
    const { broker, node } = await start(t)
    await broker.join(session)
    for (let i = 0; i < 20; i++) await broker.publish(session, json(String(i)), i % 3 === 0 ? ephemeral : durable)
    const publications = await node.until(session, json('19'))
    t.strictSame(publications.map(({ body }) => body), Array.from({ length: 20 }, (_, i) => json(String(i))))
    const revisions = publications.map(({ revision }) => revision)
    t.strictSame(revisions, [...new Set(revisions)].sort((a, b) => a - b))
  })

  t.test('publications that are not awaited keep the order of the calls', async (t) => {
    const { broker, node } = await start(t)
    await broker.join(session)
    const names = Array.from({ length: 50 }, (_, i) => json(String(i)))
    const published = await Promise.all(names.map(async (body) => broker.publish(session, body, durable)))
    t.strictSame((await node.until(session, json('49'))).map(({ body }) => body), names)
    t.strictSame(published.map(({ seq }) => seq), names.map((_, i) => i + 1))
  })

  t.test('durable messages are numbered without gaps, ephemeral ones are not, and both return the latest position', async (t) => {
    const { broker, node } = await start(t)
    const { epoch } = await broker.join(session)
    const answers = []
    for (const options of [ephemeral, durable, ephemeral, durable, durable, ephemeral]) {
      answers.push(await broker.publish(session, json(String(answers.length)), options))
    }
    t.strictSame(answers.map(positionOf), [0, 1, 1, 2, 3, 3].map((seq) => ({ epoch, seq })))
    const publications = await node.until(session, json('5'))
    t.strictSame(publications.map((publication) => publication.seq), [undefined, 1, undefined, 2, 3, undefined])
  })

  t.test('a message arrives unchanged, whatever characters it or its stream contains', async (t) => {
    const { broker, node } = await start(t)
    const streams: Stream[] = ['session:__proto__', 'session:a b:c*?[]{}\r\n', 'session:é💡', 'user:one', 'all']
    const body = JSON.stringify({ text: 'quotes " and \u0000, \u2028, 💡, and much: '.padEnd(100_000, 'é') })
    for (const stream of streams) {
      await broker.join(stream)
      await broker.publish(stream, body, ephemeral)
      const [publication] = await node.until(stream, body)
      t.match(publication, { body, durable: false })
      const { seq } = await broker.publish(stream, '{}', durable)
      t.equal(seq, 1)
      t.match((await node.until(stream, '{}'))[1], { body: '{}', durable: true, seq: 1 })
    }
  })

  t.test('streams are independent of each other', async (t) => {
    const { broker, node } = await start(t)
    await broker.join(session)
    await broker.join(other)
    await broker.publish(session, json('a'), durable)
    await broker.publish(session, json('b'), durable)
    t.match(await broker.publish(other, json('c'), durable), { seq: 1 })
    t.strictSame((await node.until(other, json('c'))).map(({ body }) => body), [json('c')])
    t.match(await broker.join(session), { seq: 2 })
  })

  t.test('publish returns the number of recipients, at least those of this node', async (t) => {
    const { broker, node } = await start(t)
    node.subscribers = 3
    await broker.join(session)
    const { recipients } = await broker.publish(session, json('a'), durable)
    t.ok(recipients >= 3)
    node.subscribers = 0
    t.match(await broker.publish(other, json('b'), durable), { recipients: 0 })
  })

  t.test('two independent brokers never share an epoch', async (t) => {
    const { broker: a } = await start(t)
    const { broker: b } = await start(t)
    const position = positionOf(await a.publish(session, json('a'), durable))
    await b.publish(session, json('a'), durable)
    t.match(await b.join(session, position), { recovered: false, reason: 'restarted' })
  })
}

function controlContract (t: Test, start: Start): void {
  t.test('a control message reaches the node that sent it, which gets the result', async (t) => {
    const { broker, node } = await start(t)
    for (const result of [true, false, 'failed'] as const) {
      node.result = result
      t.equal(await broker.control({ type: 'revoke', userId: 'one', sessionId: 'two' }), result)
      t.strictSame(await node.nextControl(), { type: 'revoke', userId: 'one', sessionId: 'two' })
      t.equal(await broker.control({ type: 'cancel', sessionId: 'one', jobId: 'j' }), result)
      t.strictSame(await node.nextControl(), { type: 'cancel', sessionId: 'one', jobId: 'j' })
    }
  })
}
