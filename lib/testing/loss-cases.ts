import type { Joined, Stream } from '../streams/broker.js'
import type { ContractCase } from './contract-case.js'
import { turn } from './deadline.js'
import { holds, match, present, same } from './expect.js'
import { bodies, received } from './received.js'
import { durable, json, other, positionOf, repeated, report, session, text } from './reports.js'
import type { OpenNode } from './stage.js'

const start = report('start', { jobId: 'j' })

/** A store that loses what it had accepted. */
export const lossCases: readonly ContractCase[] = [
  {
    name: 'a broker whose store can lose history says so',
    needs: ['lose'],
    run: async (stage) => {
      const { broker } = await stage.open()
      same(broker.canLoseHistory, true, 'canLoseHistory')
    }
  },
  {
    name: 'after a loss each joined stream has a new epoch, and is reported once, before anything of that epoch is delivered',
    needs: ['lose'],
    run: async (stage) => {
      const opened = await stage.open()
      const { broker, node } = opened
      const rejoins = joinAgain(opened)
      for (const stream of [session, other]) await broker.join(stream)
      for (let round = 1; round <= 2; round++) {
        const before = new Map<Stream, string>()
        for (const stream of [session, other]) before.set(stream, (await broker.publish(stream, json(`before ${round}`), durable)).epoch)
        await stage.lose()
        for (const stream of [session, other]) {
          const { epoch } = await broker.publish(stream, json(`after ${round}`), durable)
          holds(epoch !== before.get(stream), `${stream} has the same epoch after a loss`)
          await node.until(stream, json(`after ${round}`))
          const events = node.events.filter((event) => 'stream' in event && event.stream === stream)
          const [reported, delivered] = [
            events.findLastIndex(({ type }) => type === 'restarted'),
            events.findIndex((event) => event.type === 'deliver' && event.message.body === json(`after ${round}`))
          ]
          holds(reported < delivered, `a message of the new epoch of ${stream} was delivered before the call of restarted`)
          same(events.filter(({ type }) => type === 'restarted').length, round, `the calls of restarted for ${stream}, after loss ${round}`)
        }
        for (const { epoch } of await Promise.all(rejoins.splice(0))) holds(![...before.values()].includes(epoch), 'a join after the loss returned an old epoch')
        same(node.all('reseed').length, round, `the calls of reseed after loss ${round}`)
      }
    }
  },
  {
    name: 'a position from before a loss fails with "restarted", whether its stream is joined or not, and one from after it is recovered',
    needs: ['lose'],
    run: async (stage) => {
      const opened = await stage.open()
      const { broker, node } = opened
      void joinAgain(opened)
      await broker.join(session)
      const [a, b] = [await broker.publish(session, json('before'), durable), await broker.publish(other, json('before'), durable)].map(positionOf)
      await stage.lose()
      await broker.publish(session, json('after'), durable)
      await node.until(session, json('after'))
      match(await broker.join(session, { since: a }), { recovered: false, reason: 'restarted' }, 'a join of the joined stream')
      const late = await broker.join(other, { since: b })
      match(late, { recovered: false, reason: 'restarted' }, 'a join of the other stream')
      await broker.publish(other, json('after'), durable)
      const recovered = await broker.join(other, { since: positionOf(late) })
      match(recovered, { recovered: true }, 'a join from the new position')
      same(bodies(recovered), [json('after')], 'its replay')
      same(node.all('restarted').map(({ stream }) => stream), [session], 'the streams that were reported')
    }
  },
  {
    name: 'after a loss the node publishes its jobs again before a join is answered: no subscriber gets a snapshot without them',
    needs: ['lose'],
    run: async (stage) => {
      const opened = await stage.open()
      const { broker, node } = opened
      const rejoins = joinAgain(opened)
      await broker.join(session)
      await runJob(opened)
      await stage.lose()
      await broker.publish(session, json('after'), durable)
      await node.waitFor('the call of restarted', () => rejoins[0])
      await checkSnapshot(rejoins[0])
    }
  },
  {
    name: 'after a loss the other publications of a node wait until it has published its jobs again',
    needs: ['lose'],
    run: async (stage) => {
      const opened = await stage.open()
      const { broker, node } = opened
      void joinAgain(opened)
      await broker.join(session)
      await runJob(opened)
      await stage.lose()
      match(await broker.publish(session, json('end'), report('complete', { jobId: 'j' })), { jobId: 'j', dropped: undefined }, 'the end')
      const messages = await node.until(session, json('end'))
      same(messages.slice(-3).map(({ body }) => body), ['start again', 'text again', 'end'].map(json), 'the deliveries after the loss')
      const { replay } = await broker.join(session)
      same(replay.map((one) => received(one).piece?.text), ['one two', undefined], 'the text in the snapshot')
    }
  },
  {
    name: 'after a loss every node reports it, and no join is answered before the owner of a job has published it again',
    needs: ['lose', 'nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      const rejoins = joinAgain(b)
      void joinAgain(a)
      for (const { broker } of [a, b]) await broker.join(session)
      await runJob(a)
      await b.node.until(session, json('text 2'))
      await stage.lose()
      await b.broker.publish(session, json('after'), durable)
      await b.node.waitFor('the call of restarted', () => rejoins[0])
      await checkSnapshot(rejoins[0])
      await a.broker.publish(session, json('last'), durable)
      const [ofA, ofB] = [await a.node.until(session, json('last')), await b.node.until(session, json('last'))]
      same(ofB.map(({ body }) => body), ofA.map(({ body }) => body), 'the deliveries of the other node')
      for (const { node } of [a, b]) {
        same([node.all('restarted').length, node.all('reseed').length], [1, 1], 'the calls of restarted and reseed of each node')
      }
    }
  }
]

/** Lets a node join each restarted stream again, as the server does. Returns the results, which come later. */
function joinAgain ({ broker, node }: OpenNode): Array<Promise<Joined>> {
  const joins: Array<Promise<Joined>> = []
  node.onRestarted = (stream) => { joins.push(broker.join(stream)) }
  return joins
}

/** Starts a job with text, and lets its node publish it again when the store has lost it. */
async function runJob ({ broker, node }: OpenNode): Promise<void> {
  await broker.publish(session, json('start'), start)
  await broker.publish(session, json('text 1'), text('one ', 'j', 0))
  await broker.publish(session, json('text 2'), text('two', 'j', 4))
  node.onReseed = async () => {
    for (let turns = 0; turns < 5; turns++) await turn()
    await broker.publish(session, json('start again'), repeated(start))
    for (let turns = 0; turns < 5; turns++) await turn()
    await broker.publish(session, json('text again'), repeated(text('one two', 'j', 0)))
  }
}

/** Checks that the result of a join contains the job that was published again. */
async function checkSnapshot (join: Promise<Joined> | undefined): Promise<void> {
  const { replay, recovered } = await present(join, 'the join after the loss')
  same(recovered, false, 'recovered')
  same(bodies({ replay }), [json('start again'), json('text again')], 'the snapshot')
  same(replay.map((one) => received(one).piece), [undefined, { text: 'one two', offset: 0, truncated: false }], 'the text in the snapshot')
}
