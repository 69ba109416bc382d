import type { Published, Stream } from '../streams/broker.js'
import type { ContractCase } from './contract-case.js'
import { holds, match, same } from './expect.js'
import { durable, ephemeral, json, jsons, other, positionOf, session } from './reports.js'

/** The order and the numbers of a stream, and to which nodes its messages are delivered. */
export const orderCases: readonly ContractCase[] = [
  {
    name: 'publications are delivered once each, in the order of their revisions',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      for (const [at, body] of jsons(20).entries()) await broker.publish(session, body, at % 3 === 0 ? ephemeral : durable)
      const messages = await node.until(session, json(19))
      same(messages.map(({ body }) => body), jsons(20), 'the delivered bodies')
      const revisions = messages.map(({ revision }) => revision)
      same(revisions, [...new Set(revisions)].sort((a, b) => a - b), 'the revisions')
    }
  },
  {
    name: 'publications that are not awaited keep the order of the calls',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const published = await Promise.all(jsons(50).map((body) => broker.publish(session, body, durable)))
      same((await node.until(session, json(49))).map(({ body }) => body), jsons(50), 'the delivered bodies')
      same(published.map(({ seq }) => seq), jsons(50).map((_, at) => at + 1), 'the numbers of the results')
    }
  },
  {
    name: 'durable messages are numbered without gaps, ephemeral ones are not, and both return the latest position',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      const { epoch } = await broker.join(session)
      const published: Published[] = []
      for (const [at, options] of [ephemeral, durable, ephemeral, durable, durable, ephemeral].entries()) {
        published.push(await broker.publish(session, json(at), options))
      }
      same(published.map(positionOf), [0, 1, 1, 2, 3, 3].map((seq) => ({ epoch, seq })), 'the positions of the results')
      same((await node.until(session, json(5))).map(({ seq }) => seq), [undefined, 1, undefined, 2, 3, undefined], 'the delivered numbers')
    }
  },
  {
    name: 'a message arrives unchanged, whatever characters it or its stream contains',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      const streams: Stream[] = ['session:__proto__', 'session:a b:c*?[]{}\r\n', 'session:é💡', 'user:one', 'all']
      const body = JSON.stringify({ text: 'quotes " and \u0000, \u2028, 💡, and much: '.padEnd(100_000, 'é'), progress: {} })
      for (const stream of streams) {
        if (stream !== 'all') await broker.join(stream)
        await broker.publish(stream, body, ephemeral)
        match(await node.until(stream, body), [{ body, durable: false, seq: undefined }], stream)
        match(await broker.publish(stream, '{}', durable), { seq: 1 }, stream)
        match((await node.until(stream, '{}')).at(-1), { body: '{}', durable: true, seq: 1 }, stream)
      }
    }
  },
  {
    name: 'streams are independent of each other',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      await broker.join(other)
      await broker.publish(session, json('a'), durable)
      await broker.publish(session, json('b'), durable)
      match(await broker.publish(other, json('c'), durable), { seq: 1 }, 'the first message of the other stream')
      same((await node.until(other, json('c'))).map(({ body }) => body), [json('c')], 'the deliveries of the other stream')
      match(await broker.join(session), { seq: 2 }, 'the position of the first stream')
    }
  },
  {
    name: 'publish returns the number of recipients, at least those of this node',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      node.subscribers = 3
      await broker.join(session)
      const { recipients } = await broker.publish(session, json('a'), durable)
      holds(recipients >= 3, `three subscribers got the message, but publish returned ${recipients} recipients`)
      node.subscribers = 0
      match(await broker.publish(other, json('b'), durable), { recipients: 0 }, 'a publish to a stream without subscribers')
    }
  },
  {
    name: 'the stream "all" reaches an open node without a join',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      node.subscribers = 2
      const { recipients } = await broker.publish('all', json('a'), ephemeral)
      await broker.publish('all', json('b'), durable)
      same((await node.until('all', json('b'))).map(({ body }) => body), [json('a'), json('b')], 'the deliveries')
      holds(recipients >= 2, `two subscribers got the message, but publish returned ${recipients} recipients`)
    }
  },
  {
    name: 'a node gets nothing of a stream before it joins and after it leaves',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.publish(session, json('before'), durable)
      await broker.join(session)
      await broker.publish(session, json('joined'), durable)
      await node.until(session, json('joined'))
      broker.leave(session)
      await broker.publish(session, json('left'), durable)
      await broker.join(session)
      await broker.publish(session, json('again'), durable)
      same((await node.until(session, json('again'))).map(({ body }) => body), [json('joined'), json('again')], 'the deliveries')
    }
  },
  {
    name: 'an epoch consists of 1 to 64 characters that a client can send back',
    run: async (stage) => {
      const { broker } = await stage.open()
      for (const stream of ['session:é💡', 'user:one'] as const) {
        const { epoch } = await broker.join(stream)
        holds(/^[\w.-]{1,64}$/.test(epoch), `the epoch ${JSON.stringify(epoch)} of ${stream} contains other characters, or too many`)
      }
    }
  },
  {
    name: 'two stores never share an epoch',
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.openElsewhere()]
      const since = positionOf(await a.broker.publish(session, json('a'), durable))
      await b.broker.publish(session, json('a'), durable)
      match(await b.broker.join(session, { since }), { recovered: false, reason: 'restarted' }, 'a join with a position of the other store')
    }
  }
]
