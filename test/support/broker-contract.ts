import type { Test } from 'tap'
import type { Broker, Position, Stream } from '../../lib/broker/broker.js'
import type { MaybePromise } from '../../lib/maybe-promise.js'
import { FakeNode } from './broker-node.js'

/** A broker as an app would make it, not opened yet. Each call's shares nothing with the others'. */
export type MakeBroker = () => MaybePromise<Broker>

const session: Stream = 'session:one'
const other: Stream = 'session:two'
const durable = { durable: true }
const ephemeral = { durable: false }

const json = (name: string): string => JSON.stringify({ type: 'note', name })

/**
 * What `lib/broker/broker.ts` promises, as tests that every broker passes, whether it answers at once or with promises
 * and whether it keeps history or not. Nothing here waits for a time: to say "and nothing else came", a test publishes
 * once more and takes everything up to that.
 */
export function brokerContract (t: Test, makeBroker: MakeBroker): void {
  const start = async (t: Test): Promise<{ broker: Broker, node: FakeNode }> => {
    const broker = await makeBroker()
    const node = new FakeNode()
    await broker.open(node)
    t.teardown(() => broker.close())
    return { broker, node }
  }
  const positionOf = ({ epoch, seq }: Position): Position => ({ epoch, seq })

  t.test('publications are delivered once each, in the order of their revisions', async (t) => {
    const { broker, node } = await start(t)
    await broker.join(session)
    for (let i = 0; i < 20; i++) await broker.publish(session, json(String(i)), i % 3 === 0 ? ephemeral : durable)
    const publications = await node.until(session, json('19'))
    t.strictSame(publications.map(({ body }) => body), Array.from({ length: 20 }, (_, i) => json(String(i))))
    const revisions = publications.map(({ revision }) => revision)
    t.strictSame(revisions, [...new Set(revisions)].sort((a, b) => a - b))
  })

  t.test('publications that nobody awaits keep the order of the calls', async (t) => {
    const { broker, node } = await start(t)
    await broker.join(session)
    const names = Array.from({ length: 50 }, (_, i) => json(String(i)))
    const published = await Promise.all(names.map(async (body) => broker.publish(session, body, durable)))
    t.strictSame((await node.until(session, json('49'))).map(({ body }) => body), names)
    t.strictSame(published.map(({ seq }) => seq), names.map((_, i) => i + 1))
  })

  t.test('durable ones are numbered without holes, ephemeral ones are not, and both are told the head', async (t) => {
    const { broker, node } = await start(t)
    const { epoch } = await broker.join(session)
    const answers = []
    for (const options of [ephemeral, durable, ephemeral, durable, durable, ephemeral]) {
      answers.push(await broker.publish(session, json(String(answers.length)), options))
    }
    t.strictSame(answers.map(positionOf), [0, 1, 1, 2, 3, 3].map((seq) => ({ epoch, seq })))
    const publications = await node.until(session, json('5'))
    t.strictSame(publications.map((publication) => publication.seq), [undefined, 1, undefined, 2, 3, undefined])
    t.notOk('seq' in publications[0]!, 'no number is no field')
  })

  t.test('what is published arrives as it was, whatever is in it', async (t) => {
    const { broker, node } = await start(t)
    const streams: Stream[] = ['session:__proto__', 'session:a b:c*?[]{}\r\n', 'session:é💡', 'user:one', 'all']
    const body = JSON.stringify({ text: 'quotes " and \u0000, \u2028, 💡, and much: '.padEnd(100_000, 'é') })
    for (const stream of streams) {
      await broker.join(stream)
      await broker.publish(stream, body, { durable: false, collapseKey: 'progress "1"' })
      const [publication] = await node.until(stream, body)
      t.match(publication, { body, durable: false, collapseKey: 'progress "1"' })
      const { seq } = await broker.publish(stream, '{}', durable)
      t.equal(seq, 1)
      t.match((await node.until(stream, '{}'))[1], { body: '{}', durable: true, seq: 1 })
    }
  })

  t.test('streams know nothing of each other', async (t) => {
    const { broker, node } = await start(t)
    await broker.join(session)
    await broker.join(other)
    await broker.publish(session, json('a'), durable)
    await broker.publish(session, json('b'), durable)
    t.match(await broker.publish(other, json('c'), durable), { seq: 1 })
    t.strictSame((await node.until(other, json('c'))).map(({ body }) => body), [json('c')])
    t.match(await broker.join(session), { seq: 2 })
  })

  t.test('a publication is told how many it was handed to, those of this node at least', async (t) => {
    const { broker, node } = await start(t)
    node.followers = 3
    await broker.join(session)
    const { recipients } = await broker.publish(session, json('a'), durable)
    t.ok(recipients >= 3)
    node.followers = 0
    t.match(await broker.publish(other, json('b'), durable), { recipients: 0 })
  })

  t.test('a join', (t) => {
    t.test('without a position is new, and told where the stream is', async (t) => {
      const { broker, node } = await start(t)
      const { epoch } = await broker.publish(session, json('a'), durable)
      await broker.join(session)
      await broker.publish(session, json('b'), ephemeral)
      const joined = await broker.join(session)
      t.match(joined, { epoch, seq: 1, recovered: false, reason: 'new', missed: [] })
      t.equal((await node.until(session, json('b'))).at(-1)?.revision, joined.revision)
    })

    t.test('of a reader who missed nothing is recovered', async (t) => {
      const { broker } = await start(t)
      const since = positionOf(await broker.publish(session, json('a'), durable))
      const joined = await broker.join(session, since)
      t.match(joined, { ...since, recovered: true, missed: [], state: [] })
      t.notOk('reason' in joined)
      await broker.publish(session, json('b'), ephemeral)
      t.match(await broker.join(session, since), { recovered: true }, 'an ephemeral one is not missed')
    })

    t.test('of a reader who missed something is given exactly that, or told that it is gone', async (t) => {
      const { broker } = await start(t)
      const since = positionOf(await broker.publish(session, json('a'), durable))
      for (const name of ['b', 'c']) await broker.publish(session, json(name), durable)
      const { recovered, reason, missed, seq } = await broker.join(session, since)
      t.equal(seq, 3)
      if (recovered) t.strictSame(missed.map((publication) => [publication.seq, publication.body]), [[2, json('b')], [3, json('c')]])
      else t.match({ reason, missed }, { reason: 'expired', missed: [] })
    })

    t.test('with a position of another epoch is told that the numbers began again', async (t) => {
      const { broker } = await start(t)
      const { seq } = await broker.publish(session, json('a'), durable)
      for (const epoch of ['another.0', '']) {
        t.match(await broker.join(session, { epoch, seq }), { recovered: false, reason: 'restarted', missed: [] })
      }
    })

    t.test('with a position that was never reached is not recovered', async (t) => {
      const { broker } = await start(t)
      const { epoch } = await broker.publish(session, json('a'), durable)
      for (const seq of [2, -1, 0.5, NaN, Infinity]) {
        t.match(await broker.join(session, { epoch, seq }), { recovered: false, missed: [] }, String(seq))
      }
    })

    t.test('has no effect on a stream that was never published to, and its position holds', async (t) => {
      const { broker } = await start(t)
      const first = await broker.join(session)
      t.match(first, { seq: 0, recovered: false, reason: 'new', missed: [], state: [] })
      const since = positionOf(first)
      t.match(await broker.join(session, since), { ...since, recovered: true })
      broker.leave(session)
      t.match(await broker.join(session, since), { ...since, recovered: true })
      t.match(await broker.publish(session, json('a'), durable), { epoch: since.epoch, seq: 1 })
    })

    t.test('splits the stream: what its answer does not cover is delivered after it', async (t) => {
      const { broker, node } = await start(t)
      await broker.join(session)
      const calls = Array.from({ length: 30 }, (_, i) => ({
        published: (async () => broker.publish(session, json(String(i)), i % 2 === 0 ? durable : ephemeral))(),
        joined: (async () => broker.join(session))()
      }))
      const answers = await Promise.all(calls.map(({ joined }) => joined))
      await Promise.all(calls.map(({ published }) => published))
      await broker.publish(session, json('last'), durable)
      const publications = await node.until(session, json('last'))
      for (const { seq, revision } of answers) {
        const covered = publications.filter((publication) => publication.revision <= revision)
        const after = publications.filter((publication) => publication.revision > revision)
        t.equal(covered.findLast((publication) => publication.durable)?.seq ?? 0, seq)
        t.equal(after.find((publication) => publication.durable)?.seq, seq + 1)
      }
    })
    t.end()
  })

  t.test('who follows again after the last follower had gone has missed nothing, if nothing came', async (t) => {
    const { broker, node } = await start(t)
    await broker.join(session)
    const since = positionOf(await broker.publish(session, json('a'), durable))
    broker.leave(session)
    t.match(await broker.join(session, since), { ...since, recovered: true })
    t.match(await broker.publish(session, json('b'), durable), { epoch: since.epoch, seq: 2 })
    t.equal((await node.until(session, json('b'))).at(-1)?.seq, 2)
  })

  t.test('leaving a stream that was not joined does nothing', async (t) => {
    const { broker } = await start(t)
    broker.leave(session)
    t.match(await broker.publish(session, json('a'), durable), { seq: 1 })
  })

  t.test('an order reaches the node that gave it', async (t) => {
    const { broker, node } = await start(t)
    await broker.control({ type: 'revoke', userId: 'one', sessionId: 'two' })
    t.strictSame(await node.nextOrder(), { type: 'revoke', userId: 'one', sessionId: 'two' })
  })

  t.test('two brokers of their own never share an epoch', async (t) => {
    const { broker: a } = await start(t)
    const { broker: b } = await start(t)
    const position = positionOf(await a.publish(session, json('a'), durable))
    await b.publish(session, json('a'), durable)
    t.match(await b.join(session, position), { recovered: false, reason: 'restarted' })
  })

  t.test('after its close nothing is delivered', async (t) => {
    const broker = await makeBroker()
    const node = new FakeNode()
    await broker.open(node)
    await broker.join(session)
    await broker.publish(session, json('a'), durable)
    await node.until(session, json('a'))
    await broker.close()
    // It may refuse by now; what it must not do is deliver.
    await Promise.allSettled([
      (async () => broker.publish(session, json('b'), durable))(), (async () => broker.control({ type: 'revoke', userId: 'one' }))()
    ])
    t.equal(node.deliveries.length, 1)
    t.equal(node.orders.length, 0)
  })
}
