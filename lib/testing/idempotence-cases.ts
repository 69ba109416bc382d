import type { Published, PublishOptions } from '../streams/broker.js'
import type { ContractCase } from './contract-case.js'
import { match, same } from './expect.js'
import { durable, ephemeral, json, other, report, session, text } from './reports.js'

/** Number of results that a broker remembers at least. */
const REMEMBERED = 64

/** Publications with a `counter`, whose outcome may be unknown, so that the node repeats them. */
export const idempotenceCases: readonly ContractCase[] = [
  {
    name: 'a repeated publication returns the first result, and is delivered once',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      node.subscribers = 1
      for (const stream of [session, other]) await broker.join(stream)
      const kinds: PublishOptions[] = [durable, ephemeral, report('start'), report('start', { jobId: 'j' }), text('abc', 'j'), report('complete', { jobId: 'j' }), report('complete')]
      const firsts: Published[] = []
      for (const [counter, options] of kinds.entries()) firsts.push(await broker.publish(session, json(counter), { ...options, counter }))
      await broker.publish(session, json('between'), durable)
      await broker.publish(other, json('between'), { ...durable, counter: kinds.length })
      for (const [counter, options] of kinds.entries()) {
        same(await broker.publish(session, json(counter), { ...options, counter }), firsts[counter], `the result of the repeated publication ${counter}`)
      }
      await broker.publish(session, json('last'), durable)
      same((await node.until(session, json('last'))).map(({ body }) => body), [...kinds.keys(), 'between', 'last'].map(json), 'the deliveries')
    }
  },
  {
    name: 'a refused publication stays refused when it is repeated, for the same reason',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      await broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      const again = { ...report('start', { jobId: 'j' }), counter: 1 }
      const stray = { ...report('error', { presumed: true, jobId: 'j', ownership: 'unknown' }), counter: 2 }
      const gap = { ...text('xyz', 'j', 10), counter: 3 }
      const refusals = [again, stray, gap]
      const firsts: Published[] = []
      for (const options of refusals) firsts.push(await broker.publish(session, json('refused'), options))
      same(firsts.map(({ dropped }) => dropped), ['started', 'owned', 'gap'], 'the reasons')
      await broker.publish(session, json('end'), report('complete', { jobId: 'j' }))
      for (const [at, options] of refusals.entries()) same(await broker.publish(session, json('refused'), options), firsts[at], `the repeated result ${at}`)
      same((await node.until(session, json('end'))).map(({ body }) => body), [json('start'), json('end')], 'the deliveries')
    }
  },
  {
    name: 'a publication that is repeated before its first result is known is published once',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      for (let round = 0; round < 10; round++) {
        const results = await Promise.all([1, 2, 3].map(() => broker.publish(session, json(round), { ...durable, counter: round })))
        for (const result of results) match(result, { seq: round + 1 }, `a result of round ${round}`)
      }
      same((await node.until(session, json(9))).length, 10, 'the number of deliveries')
    }
  },
  {
    name: 'the results of the newest 64 publications with a counter are remembered',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const counters = Array.from({ length: REMEMBERED + 20 }, (_, counter) => counter)
      for (const counter of counters) await broker.publish(session, json(counter), { ...durable, counter })
      for (const counter of counters.slice(-REMEMBERED)) {
        match(await broker.publish(session, json(counter), { ...durable, counter }), { seq: counter + 1 }, `the repeated publication ${counter}`)
      }
      await broker.publish(session, json('last'), durable)
      same((await node.until(session, json('last'))).length, counters.length + 1, 'the number of deliveries')
    }
  },
  {
    name: 'publications of two nodes with the same counter are different ones',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await a.broker.join(session)
      const first = await a.broker.publish(session, json('of a'), { ...durable, counter: 1 })
      match(await b.broker.publish(session, json('of b'), { ...durable, counter: 1 }), { seq: 2 }, 'the publication of the other node')
      same(await a.broker.publish(session, json('of a'), { ...durable, counter: 1 }), first, 'the repeated publication')
      match(await b.broker.publish(session, json('of b'), { ...durable, counter: 1 }), { seq: 2 }, 'the repeated publication of the other node')
      await a.broker.publish(session, json('last'), durable)
      same((await a.node.until(session, json('last'))).map(({ body }) => body), ['of a', 'of b', 'last'].map(json), 'the deliveries')
    }
  },
  {
    name: 'a publication whose node was disconnected can be repeated after that, and is published once',
    needs: ['nodes', 'disconnect'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await a.broker.join(session)
      const jobId = 'j'
      await b.broker.publish(session, json('start'), report('start', { jobId }))
      const options = { ...report('complete', { jobId }), counter: 1 }
      await stage.disconnect(b.broker)
      // It may reject, or wait until the node is back.
      const first = b.broker.publish(session, json('end'), options).catch(() => undefined)
      await stage.reconnect(b.broker)
      match(await b.broker.publish(session, json('end'), options), { seq: 2, jobId, dropped: undefined }, 'the repeated publication')
      match(await first ?? { seq: 2 }, { seq: 2, dropped: undefined }, 'the first result, if it is known')
      await a.broker.publish(session, json('last'), durable)
      same((await a.node.until(session, json('last'))).map(({ body }) => body), ['start', 'end', 'last'].map(json), 'the deliveries')
    }
  }
]
