import type { ContractCase } from './contract-case.js'
import { holds, match, replaysNothing, same } from './expect.js'
import { numbered } from './received.js'
import { durable, ephemeral, json, jsons, positionOf, session } from './reports.js'

/** The position and the replay that a new or reconnecting subscriber gets. */
export const joinCases: readonly ContractCase[] = [
  {
    name: 'a join without a position has the reason "new" and returns the latest position',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const { epoch } = await broker.publish(session, json('a'), durable)
      await broker.publish(session, json('b'), ephemeral)
      const joined = await broker.join(session)
      replaysNothing(joined, { epoch, seq: 1, recovered: false, reason: 'new' }, 'a stream without jobs has no state')
      same((await node.until(session, json('b'))).at(-1)?.revision, joined.revision, 'the revision of the latest delivery')
    }
  },
  {
    name: 'a join of a subscriber that missed nothing is recovered',
    run: async (stage) => {
      const { broker } = await stage.open()
      const since = positionOf(await broker.publish(session, json('a'), durable))
      replaysNothing(await broker.join(session, { since }), { ...since, recovered: true, reason: undefined }, 'the first join')
      await broker.publish(session, json('b'), ephemeral)
      replaysNothing(await broker.join(session, { since }), { ...since, recovered: true }, 'a join after an ephemeral message')
    }
  },
  {
    name: 'a join replays exactly the missed messages, from any position and any number of times',
    run: async (stage) => {
      const { broker } = await stage.open()
      const { epoch } = await broker.join(session)
      for (let seq = 1; seq <= 10; seq++) {
        await broker.publish(session, json(seq), durable)
        await broker.publish(session, json(`unnumbered ${seq}`), ephemeral)
      }
      for (const round of ['once', 'twice']) {
        for (let seq = 0; seq <= 10; seq++) {
          const joined = await broker.join(session, { since: { epoch, seq } })
          match(joined, { epoch, seq: 10, recovered: true }, `from ${seq}, ${round}`)
          same(numbered(joined.replay), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].slice(seq).map((missed) => [missed, json(missed)]), `the replay from ${seq}, ${round}`)
          holds(joined.replay.every(({ revision }) => revision <= joined.revision), `the replay from ${seq} has a revision above that of the result`)
        }
      }
    }
  },
  {
    name: 'a join of a user stream is recovered in the same way',
    run: async (stage) => {
      const { broker } = await stage.open()
      const since = positionOf(await broker.join('user:one'))
      await broker.publish('user:one', json('a'), durable)
      const joined = await broker.join('user:one', { since })
      match(joined, { recovered: true }, 'the join')
      same(numbered(joined.replay), [[1, json('a')]], 'the replay')
    }
  },
  {
    name: 'a join with a position of another epoch fails with "restarted"',
    run: async (stage) => {
      const { broker } = await stage.open()
      const { seq } = await broker.publish(session, json('a'), durable)
      for (const epoch of ['another.0', '']) {
        replaysNothing(await broker.join(session, { since: { epoch, seq } }), { recovered: false, reason: 'restarted' }, `the epoch "${epoch}"`)
      }
    }
  },
  {
    name: 'a join with a position that was never reached fails with "restarted"',
    run: async (stage) => {
      const { broker } = await stage.open()
      const { epoch } = await broker.publish(session, json('a'), durable)
      for (const seq of [2, -1, 0.5, NaN, Infinity]) {
        replaysNothing(await broker.join(session, { since: { epoch, seq } }), { recovered: false, reason: 'restarted' }, `the number ${seq}`)
      }
    }
  },
  {
    name: 'a join has no effect on a stream that was never published to, and its position stays valid',
    run: async (stage) => {
      const { broker } = await stage.open()
      const first = await broker.join(session)
      replaysNothing(first, { seq: 0, recovered: false, reason: 'new' }, 'the first join')
      const since = positionOf(first)
      replaysNothing(await broker.join(session, { since }), { ...since, recovered: true }, 'a join from the position')
      for (const wrong of [{ ...since, seq: 1 }, { epoch: 'another.0', seq: 0 }]) {
        replaysNothing(await broker.join(session, { since: wrong }), { ...since, recovered: false, reason: 'restarted' }, 'a join from another position')
      }
      broker.leave(session)
      match(await broker.join(session, { since }), { ...since, recovered: true }, 'a join after the last subscriber left')
      match(await broker.publish(session, json('a'), durable), { epoch: since.epoch, seq: 1 }, 'the first publish')
      const joined = await broker.join(session, { since })
      match(joined, { recovered: true }, 'a join after the first publish')
      same(numbered(joined.replay), [[1, json('a')]], 'its replay')
    }
  },
  {
    name: 'a client that resubscribes after the last subscriber left gets exactly the messages that it missed',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const since = positionOf(await broker.publish(session, json('a'), durable))
      broker.leave(session)
      replaysNothing(await broker.join(session, { since }), { ...since, recovered: true }, 'the first join')
      broker.leave(session)
      match(await broker.publish(session, json('b'), durable), { epoch: since.epoch, seq: 2 }, 'a publish without subscribers')
      same(numbered((await broker.join(session, { since })).replay), [[2, json('b')]], 'the replay')
      match(await broker.publish(session, json('c'), durable), { epoch: since.epoch, seq: 3 }, 'a publish with subscribers')
      match((await node.until(session, json('c'))).at(-1), { seq: 3 }, 'its delivery')
    }
  },
  {
    name: 'leaving a stream that was not joined does nothing',
    run: async (stage) => {
      const { broker } = await stage.open()
      broker.leave(session)
      match(await broker.publish(session, json('a'), durable), { seq: 1 }, 'a publish')
    }
  },
  {
    name: 'a join splits the stream: publications that its result does not cover are delivered',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const calls = Array.from({ length: 30 }, (_, at) => ({
        published: broker.publish(session, json(at), at % 2 === 0 ? durable : ephemeral),
        joined: broker.join(session)
      }))
      const results = await Promise.all(calls.map(({ joined }) => joined))
      await Promise.all(calls.map(({ published }) => published))
      await broker.publish(session, json('last'), durable)
      const messages = (await node.until(session, json('last'))).filter((message) => message.durable)
      for (const { seq, revision } of results) {
        // They are numbered from 1 on.
        same(messages.filter((message) => message.revision <= revision).length, seq, `the latest number up to revision ${revision}`)
      }
    }
  },
  {
    name: 'a join between publications replays the earlier ones, and the later ones are delivered: none is missing, none comes twice',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      const since = positionOf(await broker.join(session))
      const calls = jsons(30).map((body) => [broker.publish(session, body, durable), broker.join(session, { since })] as const)
      const results = await Promise.all(calls.map(([, joined]) => joined))
      await Promise.all(calls.map(([published]) => published))
      await broker.publish(session, json('last'), durable)
      const messages = await node.until(session, json('last'))
      for (const { replay, revision, recovered } of results) {
        same(recovered, true, 'recovered')
        const live = messages.filter((message) => message.revision > revision)
        same([...replay, ...live].map(({ seq }) => seq), Array.from({ length: 31 }, (_, at) => at + 1), `the numbers before and after revision ${revision}`)
      }
    }
  }
]
