import type { Test } from 'tap'
import type { Position } from '../../lib/streams/broker.js'
import { bare, bodies, durable, ephemeral, json, numbered, other, positionOf, report, session, type Start } from './contract-stage.js'

/** Tests the position and the replay that a new or reconnecting subscriber gets. */
export function joinContract (t: Test, start: Start): void {
  t.test('a join', (t) => {
    t.test('without a position has the reason "new" and returns the latest position', async (t) => {
      const { broker, node } = await start(t)
      await broker.join(session)
      const { epoch } = await broker.publish(session, json('a'), durable)
      await broker.publish(session, json('b'), ephemeral)
      const joined = await broker.join(session)
      t.match(joined, { epoch, seq: 1, recovered: false, reason: 'new' })
      t.strictSame(joined.replay, [], 'a stream without jobs has no state')
      t.equal((await node.until(session, json('b'))).at(-1)?.revision, joined.revision)
    })

    t.test('of a subscriber that missed nothing is recovered', async (t) => {
      const { broker } = await start(t)
      const since = positionOf(await broker.publish(session, json('a'), durable))
      const joined = await broker.join(session, since)
      t.match(joined, { ...since, recovered: true })
      t.strictSame(joined.replay, [])
      t.notOk('reason' in joined)
      await broker.publish(session, json('b'), ephemeral)
      bare(t, await broker.join(session, since), { recovered: true }, 'an ephemeral message does not count as missed')
    })

    t.test('replays exactly the missed messages, from any position and any number of times', async (t) => {
      const { broker } = await start(t)
      const { epoch } = await broker.join(session)
      for (let i = 1; i <= 10; i++) {
        await broker.publish(session, json(String(i)), durable)
        await broker.publish(session, json(`unnumbered ${i}`), ephemeral)
      }
      for (const round of ['once', 'twice']) {
        for (let seq = 0; seq <= 10; seq++) {
          const joined = await broker.join(session, { epoch, seq })
          t.match(joined, { epoch, seq: 10, recovered: true }, round)
          t.strictSame(numbered(joined.replay), Array.from({ length: 10 - seq }, (_, i) => [seq + i + 1, json(String(seq + i + 1))]))
          t.ok(joined.replay.every(({ revision }) => revision <= joined.revision), 'the result covers all of them')
        }
      }
    })

    t.test('of a user stream is recovered in the same way', async (t) => {
      const { broker } = await start(t)
      const since = positionOf(await broker.join('user:one'))
      await broker.publish('user:one', json('a'), durable)
      const joined = await broker.join('user:one', since)
      t.equal(joined.recovered, true)
      t.strictSame(numbered(joined.replay), [[1, json('a')]])
    })

    t.test('of a subscriber that missed more messages than the stream may keep fails with "overflow"', async (t) => {
      const { broker } = await start(t, { maxMessages: 3 })
      const { epoch } = await broker.join(session)
      for (let i = 1; i <= 5; i++) await broker.publish(session, json(String(i)), durable)
      const within = await broker.join(session, { epoch, seq: 2 })
      t.match(within, { recovered: true, seq: 5 })
      t.strictSame(numbered(within.replay), [3, 4, 5].map((seq) => [seq, json(String(seq))]))
      const beyond = await broker.join(session, { epoch, seq: 1 })
      t.match(beyond, { epoch, seq: 5, recovered: false, reason: 'overflow' })
      t.strictSame(beyond.replay, [], 'a partial replay would leave a gap')
    })

    t.test('of a subscriber that missed more bytes than the stream may keep fails with "expired"', async (t) => {
      const { broker } = await start(t, { maxMessages: 20, maxBytes: 40_000 })
      const { epoch } = await broker.join(session)
      const body = JSON.stringify({ type: 'note', ballast: 'x'.repeat(10_000) })
      for (let i = 1; i <= 10; i++) await broker.publish(session, body, durable)
      bare(t, await broker.join(session, { epoch, seq: 0 }), { seq: 10, recovered: false, reason: 'expired' })
      bare(t, await broker.join(session, { epoch, seq: 10 }), { recovered: true })
      await broker.publish(session, json('last'), durable)
      const joined = await broker.join(session, { epoch, seq: 10 })
      t.equal(joined.recovered, true, 'the latest message is kept')
      t.strictSame(numbered(joined.replay), [[11, json('last')]])
    })

    t.test('of a subscriber that missed a message too large to keep fails with "expired", others are not affected', async (t) => {
      const { broker } = await start(t, { maxTotalBytes: 100_000 })
      const since = positionOf(await broker.publish(session, json('a'), durable))
      await broker.publish(other, json('b'), durable)
      const published = await broker.publish(session, JSON.stringify({ type: 'note', ballast: 'x'.repeat(200_000) }), durable)
      t.match(published, { seq: 2, kept: false })
      bare(t, await broker.join(session, since), { seq: 2, recovered: false, reason: 'expired' })
      bare(t, await broker.join(session, positionOf(published)), { recovered: true })
      const elsewhere = await broker.join(other)
      t.strictSame(numbered((await broker.join(other, { epoch: elsewhere.epoch, seq: 0 })).replay), [[1, json('b')]])
    })

    t.test('of a stream that keeps no messages is recovered if the subscriber missed none', async (t) => {
      const { broker } = await start(t, { maxMessages: 0 })
      const since = positionOf(await broker.publish(session, json('a'), durable))
      bare(t, await broker.join(session, since), { recovered: true })
      await broker.publish(session, json('b'), durable)
      bare(t, await broker.join(session, since), { seq: 2, recovered: false, reason: 'overflow' })
    })

    t.test('with a position of another epoch fails with "restarted"', async (t) => {
      const { broker } = await start(t)
      const { seq } = await broker.publish(session, json('a'), durable)
      for (const epoch of ['another.0', '']) {
        bare(t, await broker.join(session, { epoch, seq }), { recovered: false, reason: 'restarted' })
      }
    })

    t.test('with a position that was never reached fails with "restarted"', async (t) => {
      const { broker } = await start(t)
      const { epoch } = await broker.publish(session, json('a'), durable)
      for (const seq of [2, -1, 0.5, NaN, Infinity]) {
        bare(t, await broker.join(session, { epoch, seq }), { recovered: false, reason: 'restarted' }, String(seq))
      }
    })

    t.test('that can\'t be recovered returns the snapshot, whatever the reason', async (t) => {
      const { broker } = await start(t, { maxMessages: 2 })
      const { epoch } = await broker.join(session)
      for (let i = 1; i <= 3; i++) await broker.publish(session, json(String(i)), durable)
      await broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      await broker.publish(session, json('progress'), report('progress', { jobId: 'j' }))
      const reasons: Array<[reason: string, since?: Position]> = [
        ['new'], ['overflow', { epoch, seq: 0 }], ['restarted', { epoch: 'another.0', seq: 4 }], ['restarted', { epoch, seq: 5 }]
      ]
      for (const [reason, since] of reasons) {
        const joined = await broker.join(session, since)
        t.match(joined, { epoch, seq: 4, recovered: false, reason })
        t.strictSame(bodies(joined), [json('start'), json('progress')], reason)
      }
    })

    t.test('has no effect on a stream that was never published to, and the position stays valid', async (t) => {
      const { broker } = await start(t)
      const first = await broker.join(session)
      bare(t, first, { seq: 0, recovered: false, reason: 'new' })
      const since = positionOf(first)
      bare(t, await broker.join(session, since), { ...since, recovered: true })
      for (const position of [{ ...since, seq: 1 }, { epoch: 'another.0', seq: 0 }]) {
        bare(t, await broker.join(session, position), { ...since, recovered: false, reason: 'restarted' })
      }
      broker.leave(session)
      t.match(await broker.join(session, since), { ...since, recovered: true })
      t.match(await broker.publish(session, json('a'), durable), { epoch: since.epoch, seq: 1 })
      const joined = await broker.join(session, since)
      t.equal(joined.recovered, true, 'a subscriber that had received nothing has missed the first message')
      t.strictSame(numbered(joined.replay), [[1, json('a')]])
    })

    t.test('splits the stream: publications that the result does not cover are delivered', async (t) => {
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

    t.test('between publications replays the earlier ones, and the later ones are delivered: none is missing, none comes twice', async (t) => {
      const { broker, node } = await start(t)
      const since = positionOf(await broker.join(session))
      const published: Array<Promise<unknown>> = []
      const joins = []
      for (let i = 0; i < 30; i++) {
        published.push((async () => broker.publish(session, json(String(i)), durable))())
        joins.push((async () => broker.join(session, since))())
      }
      const answers = await Promise.all(joins)
      await Promise.all(published)
      await broker.publish(session, json('last'), durable)
      const publications = await node.until(session, json('last'))
      for (const { replay, revision, recovered } of answers) {
        t.equal(recovered, true)
        const live = publications.filter((publication) => publication.revision > revision)
        t.strictSame([...replay, ...live].map(({ seq }) => seq), Array.from({ length: 31 }, (_, i) => i + 1))
      }
    })
    t.end()
  })

  t.test('a client that resubscribes after the last subscriber left gets exactly the messages that it missed', async (t) => {
    const { broker, node } = await start(t)
    await broker.join(session)
    const since = positionOf(await broker.publish(session, json('a'), durable))
    broker.leave(session)
    bare(t, await broker.join(session, since), { ...since, recovered: true })
    broker.leave(session)
    t.match(await broker.publish(session, json('b'), durable), { epoch: since.epoch, seq: 2 })
    t.strictSame(numbered((await broker.join(session, since)).replay), [[2, json('b')]])
    t.match(await broker.publish(session, json('c'), durable), { epoch: since.epoch, seq: 3 })
    t.equal((await node.until(session, json('c'))).at(-1)?.seq, 3)
  })

  t.test('leaving a stream that was not joined does nothing', async (t) => {
    const { broker } = await start(t)
    broker.leave(session)
    t.match(await broker.publish(session, json('a'), durable), { seq: 1 })
  })
}
