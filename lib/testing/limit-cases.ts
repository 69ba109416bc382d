import type { Position, PublishOptions, RecoveryFailure } from '../streams/broker.js'
import type { ContractCase } from './contract-case.js'
import { holds, match, present, replaysNothing, same } from './expect.js'
import { bodies, numbered, received } from './received.js'
import { durable, json, jsons, large, other, positionOf, report, session, text } from './reports.js'

/** What happens at the limits of what a broker keeps. The other limits have their defaults. */
export const limitCases: readonly ContractCase[] = [
  {
    name: 'a broker names the options that it does not support, as the fixture says',
    run: async (stage) => {
      const { broker: { original } } = await stage.open()
      same([...original.unsupported ?? []].sort(), [...stage.unsupported].sort(), 'the names in the broker\'s unsupported')
    }
  },
  {
    name: 'a join of a subscriber that missed more messages than the stream may keep fails with "overflow"',
    needs: ['history.maxMessages'],
    run: async (stage) => {
      const { broker } = await stage.open({ history: { maxMessages: 3 } })
      const { epoch } = await broker.join(session)
      for (let seq = 1; seq <= 5; seq++) await broker.publish(session, json(seq), durable)
      const within = await broker.join(session, { since: { epoch, seq: 2 } })
      match(within, { recovered: true, seq: 5 }, 'a join that missed three messages')
      same(numbered(within.replay), [3, 4, 5].map((seq) => [seq, json(seq)]), 'its replay')
      replaysNothing(await broker.join(session, { since: { epoch, seq: 1 } }), { epoch, seq: 5, recovered: false, reason: 'overflow' }, 'a partial replay would leave a gap')
    }
  },
  {
    name: 'a join of a subscriber that missed more bytes than the stream may keep fails with "expired"',
    needs: ['history.maxMessages', 'history.maxBytes'],
    run: async (stage) => {
      const { broker } = await stage.open({ history: { maxMessages: 20, maxBytes: 40_000 } })
      const { epoch } = await broker.join(session)
      for (let seq = 1; seq <= 10; seq++) await broker.publish(session, large(10_000), durable)
      replaysNothing(await broker.join(session, { since: { epoch, seq: 0 } }), { seq: 10, recovered: false, reason: 'expired' }, 'a join that missed all messages')
      replaysNothing(await broker.join(session, { since: { epoch, seq: 10 } }), { recovered: true }, 'a join that missed none')
      await broker.publish(session, json('last'), durable)
      const joined = await broker.join(session, { since: { epoch, seq: 10 } })
      match(joined, { recovered: true }, 'a join that missed the latest message')
      same(numbered(joined.replay), [[11, json('last')]], 'its replay')
    }
  },
  {
    name: 'a join of a subscriber that missed a message too large to keep fails with "expired", and others are not affected',
    needs: ['history.maxTotalBytes'],
    run: async (stage) => {
      const { broker } = await stage.open({ history: { maxTotalBytes: 100_000 } })
      const since = positionOf(await broker.publish(session, json('a'), durable))
      await broker.publish(other, json('b'), durable)
      const published = await broker.publish(session, large(200_000), durable)
      match(published, { seq: 2, kept: false }, 'a publish of the large message')
      replaysNothing(await broker.join(session, { since }), { seq: 2, recovered: false, reason: 'expired' }, 'a join that missed it')
      replaysNothing(await broker.join(session, { since: positionOf(published) }), { recovered: true }, 'a join that missed nothing')
      const { epoch } = await broker.join(other)
      same(numbered((await broker.join(other, { since: { epoch, seq: 0 } })).replay), [[1, json('b')]], 'the replay of the other stream')
    }
  },
  {
    name: 'a join of a stream that keeps no messages is recovered if the subscriber missed none',
    needs: ['history.maxMessages'],
    run: async (stage) => {
      const { broker } = await stage.open({ history: { maxMessages: 0 } })
      const since = positionOf(await broker.publish(session, json('a'), durable))
      replaysNothing(await broker.join(session, { since }), { recovered: true }, 'a join that missed nothing')
      await broker.publish(session, json('b'), durable)
      replaysNothing(await broker.join(session, { since }), { seq: 2, recovered: false, reason: 'overflow' }, 'a join that missed a message')
    }
  },
  {
    name: 'a join that can\'t be recovered returns the snapshot, whatever the reason',
    needs: ['history.maxMessages'],
    run: async (stage) => {
      const { broker } = await stage.open({ history: { maxMessages: 2 } })
      const { epoch } = await broker.join(session)
      for (const body of jsons(3)) await broker.publish(session, body, durable)
      await broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      await broker.publish(session, json('progress'), report('progress', { jobId: 'j' }))
      const reasons: Array<[reason: RecoveryFailure, since?: Position]> = [
        ['new'], ['overflow', { epoch, seq: 0 }], ['restarted', { epoch: 'another.0', seq: 4 }], ['restarted', { epoch, seq: 5 }]
      ]
      for (const [reason, since] of reasons) {
        const joined = await broker.join(session, { since })
        match(joined, { epoch, seq: 4, recovered: false, reason }, reason)
        same(bodies(joined), [json('start'), json('progress')], `the replay with the reason ${reason}`)
      }
    }
  },
  {
    name: 'the snapshot is kept even if no messages are kept',
    needs: ['history.maxMessages'],
    run: async (stage) => {
      const { broker } = await stage.open({ history: { maxMessages: 0 } })
      await broker.publish(session, json('end'), report('complete'))
      await broker.publish(session, json('start'), report('start'))
      same(bodies(await broker.join(session)), [json('end'), json('start')], 'the snapshot')
    }
  },
  {
    name: 'a job\'s end that is too large to keep is delivered in full, and its short form is kept in its place',
    needs: ['history.maxTotalBytes'],
    run: async (stage) => {
      const { broker, node } = await stage.open({ history: { maxTotalBytes: 100_000 } })
      for (const [stream, event] of [[session, 'complete'], [other, 'error']] as const) {
        await broker.join(stream)
        const since = positionOf(await broker.publish(stream, json('before'), durable))
        const published = await broker.publish(stream, large(200_000), withShortForm(event))
        match(published, { seq: 2, jobId: 'j', kept: false }, `the publish of the ${event}`)
        match((await node.until(stream, large(200_000))).at(-1), { seq: 2, jobId: 'j' }, 'its delivery')
        for (const joined of [await broker.join(stream), await broker.join(stream, { since })]) {
          const kept = [{ body: json(`short form of ${event}`), seq: 2, jobId: 'j', durable: true }]
          match(joined.replay.map(received), kept, `the replay with recovered ${joined.recovered}`)
        }
        match(await broker.publish(stream, json('again'), report('complete', { jobId: 'j' })), { dropped: 'ended' }, 'a second end')
      }
    }
  },
  {
    name: 'a job runs even if its start is too large to keep',
    needs: ['history.maxTotalBytes'],
    run: async (stage) => {
      const { broker } = await stage.open({ history: { maxTotalBytes: 100_000 } })
      match(await broker.publish(session, large(200_000), withShortForm('start')), { kept: false }, 'the publish of the start')
      same(bodies(await broker.join(session)), [json('short form of start')], 'the snapshot')
      match(await broker.publish(session, json('end'), withShortForm('complete')), { kept: undefined }, 'an end that is not too large')
      same(bodies(await broker.join(session)), [json('end')], 'the snapshot after the end')
    }
  },
  {
    name: 'a job\'s text is truncated to its newest part if it exceeds the limit',
    needs: ['jobs.maxTextUnits'],
    run: async (stage) => {
      const { broker, node } = await stage.open({ maxTextUnits: 100 })
      await broker.join(session)
      let all = ''
      for (let at = 0; at < 30; at++) {
        const piece = `${at} 💡, `
        await broker.publish(session, json(at), text(piece, 'j'))
        const latest = (await node.until(session, json(at))).at(-1)
        same(latest?.piece, { text: piece, offset: all.length, truncated: false }, 'a delivered piece: subscribers that keep up get all of it')
        all += piece
      }
      const [progress] = (await broker.join(session)).replay.map(received)
      const kept = present(progress?.whole, 'the text in the replay')
      same(kept.truncated, true, 'truncated')
      holds(kept.text.length <= 100 && kept.text.length >= 80, `${kept.text.length} of at most 100 units are kept`)
      same(kept.text, all.slice(kept.offset), 'the kept text')
      holds(!/^[\udc00-\udfff]|[\ud800-\udbff]$/.test(kept.text), 'the kept text begins or ends with half of a surrogate pair')
    }
  }
]

/** Returns the options of a report on job `j` that has a short form. */
function withShortForm (event: 'start' | 'complete' | 'error'): PublishOptions {
  return { ...report(event, { jobId: 'j' }), shortForm: () => json(`short form of ${event}`) }
}
