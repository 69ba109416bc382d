import type { ContractCase } from './contract-case.js'
import { turn } from './deadline.js'
import { holds, match, same } from './expect.js'
import { bodies, numbered, received } from './received.js'
import { durable, ephemeral, json, jsons, other, positionOf, report, session, text } from './reports.js'

/** Several nodes over one store. */
export const nodeCases: readonly ContractCase[] = [
  {
    name: 'all nodes deliver a stream in the same order, whichever node publishes',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      for (const { broker } of [a, b]) await broker.join(session)
      await Promise.all(jsons(60).map((body, at) => (at % 2 === 0 ? a : b).broker.publish(session, body, at % 3 === 0 ? ephemeral : durable)))
      await a.broker.publish(session, json('last'), durable)
      const [ofA, ofB] = [await a.node.until(session, json('last')), await b.node.until(session, json('last'))]
      same(ofA.length, 61, 'the number of deliveries')
      same(ofB, ofA, 'the deliveries of the other node')
      for (const [name, part] of [['even', 0], ['odd', 1]] as const) {
        const expected = jsons(60).filter((_, at) => at % 2 === part)
        same(ofA.map(({ body }) => body).filter((body) => expected.includes(body)), expected, `the order of the ${name} messages, which one node published`)
      }
    }
  },
  {
    name: 'a stream is delivered only to the nodes that have joined it, and "all" to every open node',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b, c] = [await stage.open(), await stage.open(), await stage.open()]
      await b.broker.join(session)
      await c.broker.join(session)
      for (const { broker } of [a, b]) await broker.publish(session, json(`joined ${Number(broker === a.broker)}`), durable)
      await c.node.until(session, json('joined 0'))
      c.broker.leave(session)
      await a.broker.publish(session, json('left'), durable)
      await a.broker.publish('all', json('last'), durable)
      for (const { node } of [a, b, c]) await node.until('all', json('last'))
      await b.node.until(session, json('left'))
      same([a, b, c].map(({ node }) => node.received(session).length), [0, 3, 2], 'the number of deliveries to each node')
    }
  },
  {
    name: 'publish returns at least the recipients of its own node, and 0 if no node has any',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      a.node.subscribers = 2
      b.node.subscribers = 3
      for (const { broker } of [a, b]) await broker.join(session)
      for (const { broker, node } of [a, b]) {
        const { recipients } = await broker.publish(session, json('a'), durable)
        holds(recipients >= node.subscribers, `${node.subscribers} subscribers of this node got the message, but publish returned ${recipients} recipients`)
      }
      match(await a.broker.publish(other, json('b'), durable), { recipients: 0 }, 'a publish to a stream without subscribers')
    }
  },
  {
    name: 'a client is recovered by another node than the one that published, or that it was connected to',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b, c] = [await stage.open(), await stage.open(), await stage.open()]
      const since = positionOf(await a.broker.join(session))
      await b.broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      await a.broker.publish(session, json('progress'), text('one ', 'j'))
      await b.broker.publish(session, json('more'), text('two', 'j'))
      for (const { broker } of [c, b, a]) {
        const joined = await broker.join(session, { since })
        match(joined, { epoch: since.epoch, seq: 1, recovered: true }, 'a join from the beginning')
        same(numbered(joined.replay), [[1, json('start')], [undefined, json('more')]], 'its replay')
        same(joined.replay.map((one) => received(one).piece?.text), [undefined, 'one two'], 'the text in its replay')
        same(bodies(await broker.join(session)), [json('start'), json('more')], 'the snapshot')
        same(await broker.currentJob(session), 'j', 'the current job')
      }
      match(await c.broker.publish(session, json('end'), report('complete')), { epoch: since.epoch, seq: 2, jobId: 'j' }, 'an end that another node reports')
      same(numbered((await a.broker.join(session, { since: { ...since, seq: 1 } })).replay).at(-1), [2, json('end')], 'the end of the replay')
    }
  },
  {
    name: 'of two ends of a job that two nodes report at the same time, one is accepted and the other one refused',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      for (const { broker } of [a, b]) await broker.join(session)
      for (let round = 0; round < 10; round++) {
        const jobId = String(round)
        await a.broker.publish(session, json(`start ${round}`), report('start', { jobId }))
        const ends = await Promise.all([a, b].map(({ broker }, at) => broker.publish(session, json(`end ${round} ${at}`), report('complete', { jobId }))))
        same(ends.map(({ dropped }) => dropped).sort(), ['ended', undefined], `the results of round ${round}`)
      }
      await a.broker.publish(session, json('last'), durable)
      same((await a.node.until(session, json('last'))).length, 21, 'the number of deliveries')
      same(await b.node.until(session, json('last')), await a.node.until(session, json('last')), 'the deliveries of the other node')
    }
  },
  {
    name: 'a join is a barrier: none of the messages that another node publishes meanwhile is missing, and none comes twice',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      for (let round = 0; round < 5; round++) {
        const stream = `session:barrier ${round}` as const
        const since = positionOf(await a.broker.join(stream))
        const published: Array<Promise<unknown>> = []
        const joins: Array<ReturnType<typeof b.broker.join>> = []
        for (let at = 0; at < 100; at++) {
          published.push(a.broker.publish(stream, json(at), durable))
          if (at % 10 === 5) joins.push(b.broker.join(stream, { since }))
          if (at % (round + 2) === 0) await turn()
        }
        const results = await Promise.all(joins)
        await Promise.all(published)
        await a.broker.publish(stream, json('last'), durable)
        const messages = await b.node.until(stream, json('last'))
        const all = Array.from({ length: 101 }, (_, at) => at + 1)
        for (const { replay, revision } of results) {
          const live = messages.filter((message) => message.revision > revision)
          same([...replay, ...live].map(({ seq }) => seq), all, `the numbers in the replay and after it, of a join that returned revision ${revision}`)
        }
      }
    }
  },
  {
    name: 'a node that leaves and joins again misses nothing that another node publishes meanwhile',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      let since = positionOf(await b.broker.join(session))
      const numbers: Array<number | undefined> = []
      const published: Array<Promise<unknown>> = []
      let from = 0
      for (let round = 0; round < 10; round++) {
        for (let at = 0; at < 10; at++) published.push(a.broker.publish(session, json(round * 10 + at), durable))
        await turn()
        const live = b.node.received(session).slice(from)
        numbers.push(...live.filter(({ seq = 0 }) => seq > since.seq).map(({ seq }) => seq))
        b.broker.leave(session)
        from = b.node.received(session).length
        const joined = await b.broker.join(session, { since: { ...since, seq: numbers.at(-1) ?? 0 } })
        same(joined.recovered, true, 'recovered')
        numbers.push(...joined.replay.map(({ seq }) => seq))
        since = positionOf(joined)
      }
      await Promise.all(published)
      await a.broker.publish(session, json('last'), durable)
      await b.node.until(session, json('last'))
      numbers.push(...b.node.received(session).slice(from).filter(({ seq = 0 }) => seq > since.seq).map(({ seq }) => seq))
      same(numbers, Array.from({ length: 101 }, (_, at) => at + 1), 'the numbers that a client gets')
    }
  },
  {
    name: 'a node that was disconnected delivers the durable messages that it missed, or reports that their stream has lost them',
    needs: ['nodes', 'disconnect'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      for (const { broker } of [a, b]) await broker.join(session)
      await a.broker.publish(session, json('before'), durable)
      await b.node.until(session, json('before'))
      await stage.disconnect(b.broker)
      for (const body of jsons(5)) await a.broker.publish(session, body, durable)
      same(b.node.received(session).length, 1, 'the number of deliveries while it is disconnected')
      await stage.reconnect(b.broker)
      await a.broker.publish(session, json('after'), durable)
      const messages = await b.node.until(session, json('after'))
      const expected = [json('before'), ...jsons(5), json('after')]
      if (b.node.all('restarted').length === 0) same(messages.map(({ body }) => body), expected, 'the deliveries of the node that was disconnected')
      same((await b.broker.join(session)).seq, 7, 'the number that it returns')
    }
  }
]
