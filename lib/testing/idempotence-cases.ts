import type { Published, PublishOptions } from '../streams/broker.js'
import type { ContractCase } from './contract-case.js'
import { holds, match, same } from './expect.js'
import { durable, ephemeral, json, keyed, other, report, session, text } from './reports.js'

/** Number of results that a broker remembers at least. */
const REMEMBERED = 64

/** Number of keys that a case uses: more than a broker remembers results of counters. */
const KEYS = 300

/** Publications with a `counter` or a `key`, whose outcome may be unknown, so that they are repeated. */
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
    name: 'publications are recognized when they are repeated in any order',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      // Ends that had waited in an outage come after later ones whose results were lost.
      const order = [5, 3, 8, 1, 9, 2]
      const firsts = new Map<number, Published>()
      for (const counter of order) firsts.set(counter, await broker.publish(session, json(counter), { ...durable, counter }))
      for (const counter of [8, 5, 2, 9, 1, 3, 8]) same(await broker.publish(session, json(counter), { ...durable, counter }), firsts.get(counter), `the result of the repeated publication ${counter}`)
      await broker.publish(session, json('last'), durable)
      same((await node.until(session, json('last'))).map(({ body }) => body), [...order, 'last'].map(json), 'the deliveries')
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
  },
  {
    name: 'a publication whose key was used is not published again, and has the result of the first one',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      node.subscribers = 1
      await broker.join(session)
      const kinds: PublishOptions[] = [durable, ephemeral, report('start'), report('start', { jobId: 'j' }), text('abc', 'j'), report('complete', { jobId: 'j' }), report('complete')]
      const options = kinds.map((kind, at) => keyed(`key:${at}!"~`, kind))
      const firsts: Published[] = []
      for (const [at, given] of options.entries()) firsts.push(await broker.publish(session, json(at), given))
      same(firsts.map(({ dropped, repeated }) => ({ dropped, repeated })), kinds.map(() => ({ dropped: undefined, repeated: undefined })), 'the first results')
      await broker.publish(session, json('between'), durable)
      for (const [at, given] of options.entries()) {
        const repeated = { ...given, counter: at }
        for (let round = 0; round < 2; round++) same(await broker.publish(session, json('again'), repeated), { ...firsts[at], repeated: true }, `the result of the repeated publication ${at}`)
      }
      await broker.publish(session, json('last'), durable)
      same((await node.until(session, json('last'))).map(({ body }) => body), [...kinds.keys(), 'between', 'last'].map(json), 'the deliveries')
    }
  },
  {
    name: 'a key belongs to one request in one stream',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      for (const stream of [session, other]) await broker.join(stream)
      const { epoch } = await broker.publish(session, json('first'), keyed('k', durable))
      same(await broker.publish(session, json('second'), keyed('k', durable, 'another-request')), { epoch, seq: 1, recipients: 0, dropped: 'reused' }, 'the same key with another request')
      match(await broker.publish(session, json('third'), keyed('k2', durable)), { seq: 2, dropped: undefined, repeated: undefined }, 'the same request with another key')
      match(await broker.publish(other, json('elsewhere'), keyed('k', durable, 'another-request')), { seq: 1, dropped: undefined, repeated: undefined }, 'the same key in another stream')
      match(await broker.publish(session, json('first'), keyed('k', durable)), { seq: 1, dropped: undefined, repeated: true }, 'the first request again')
      await broker.publish(session, json('last'), durable)
      same((await node.until(session, json('last'))).map(({ body }) => body), ['first', 'third', 'last'].map(json), 'the deliveries')
    }
  },
  {
    name: 'a refused publication does not use its key',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const jobId = 'j'
      await broker.publish(session, json('start'), report('start', { jobId }))
      const refused: Array<readonly [dropped: string, options: PublishOptions]> = [
        ['gap', keyed('gap', text('c', jobId, 2))], ['owned', keyed('owned', report('error', { jobId, presumed: true, ownership: 'unknown' }))], ['started', keyed('started', report('start', { jobId }))]
      ]
      for (const [dropped, options] of refused) match(await broker.publish(session, json('refused'), options), { dropped, repeated: undefined }, `the publication that is refused as ${dropped}`)
      match(await broker.publish(session, json('text'), keyed('gap', text('abc', jobId, 0))), { dropped: undefined, repeated: undefined }, 'the progress without a gap')
      match(await broker.publish(session, json('other'), keyed('started', durable, 'another-request')), { dropped: undefined, repeated: undefined }, 'another request with a key that was not used')
      await broker.publish(session, json('end'), report('complete', { jobId }))
      same((await node.until(session, json('end'))).map(({ body }) => body), ['start', 'text', 'other', 'end'].map(json), 'the deliveries')
    }
  },
  {
    name: 'the text of a progress after a presumed end is kept once for each key',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const jobId = 'j'
      await broker.publish(session, json('text'), text('one ', jobId))
      await broker.publish(session, json('stalled'), report('error', { jobId, presumed: true }))
      const late = keyed('late', text('two', jobId))
      match(await broker.publish(session, json('late'), late), { dropped: 'ended', repeated: undefined }, 'the late progress')
      match(await broker.publish(session, json('late'), late), { dropped: 'ended', repeated: true }, 'the repeated progress')
      await broker.publish(session, json('end'), report('complete', { jobId }))
      same((await node.until(session, json('end'))).map(({ piece }) => piece?.text), ['one ', undefined, 'two', undefined], 'the delivered pieces')
    }
  },
  {
    name: `at least ${KEYS} keys are remembered`,
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const keys = Array.from({ length: KEYS }, (_, key) => key)
      await Promise.all(keys.map((key) => broker.publish(session, json(key), keyed(String(key), durable))))
      for (const { repeated } of await Promise.all(keys.map((key) => broker.publish(session, json(key), keyed(String(key), durable))))) same(repeated, true, 'repeated')
      await broker.publish(session, json('last'), durable)
      same((await node.until(session, json('last'))).length, KEYS + 1, 'the number of deliveries')
    }
  },
  {
    name: 'a publication with a key is published once by all nodes together',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await a.broker.join(session)
      for (let round = 1; round <= 10; round++) {
        const results = await Promise.all([a, b, a, b].map(({ broker }) => broker.publish(session, json(round), keyed(String(round), durable))))
        for (const result of results) match(result, { seq: round, dropped: undefined }, `a result of round ${round}`)
        same(results.filter(({ repeated }) => repeated !== true).length, 1, `the results of round ${round} that are not repeated`)
      }
      match(await b.broker.publish(session, json('reused'), keyed('1', durable, 'another-request')), { dropped: 'reused' }, 'another-request')
      await a.broker.publish(session, json('last'), durable)
      same((await a.node.until(session, json('last'))).map(({ body }) => body), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 'last'].map(json), 'the deliveries')
    }
  },
  {
    name: 'a lost publication has not used its key',
    needs: ['lose'],
    run: async (stage) => {
      const { broker } = await stage.open()
      const first = await broker.publish(session, json('first'), keyed('k', durable))
      await stage.lose()
      const again = await broker.publish(session, json('first'), keyed('k', durable))
      match(again, { seq: 1, dropped: undefined, repeated: undefined }, 'the publication after the loss')
      holds(again.epoch !== first.epoch, 'the publication after the loss has the epoch from before it')
    }
  }
]
