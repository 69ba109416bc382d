import type { ContractCase } from './contract-case.js'
import { match, same } from './expect.js'
import { durable, json, other, repeated, report, session, text, type JobOptions } from './reports.js'
import type { EventOf, RecordingNode } from './recording-node.js'
import type { OpenNode } from './stage.js'

const jobId = 'j'
const start = report('start', { jobId })
const presumed = report('error', { jobId, presumed: true })

/** Which node owns a job, and what that decides. */
export const ownershipCases: readonly ContractCase[] = [
  {
    name: 'adopt and release say whether the job is running, and change nothing for its only node',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      await broker.publish(session, json('start'), start)
      await broker.publish(session, json('over'), report('complete', { jobId: 'over' }))
      for (const [name, running] of [[jobId, true], ['over', false], ['unknown', false]] as const) {
        same(await broker.adopt(session, name), running, `adopt of the job "${name}"`)
        same(await broker.release(session, name), running, `release of the job "${name}"`)
      }
      same(await broker.adopt(other, jobId), false, 'adopt of the job in another stream')
      await broker.publish(session, json('progress'), report('progress', { jobId }))
      match(await broker.publish(session, json('stalled'), presumed), { dropped: undefined }, 'the presumed end of the node\'s own job')
      await node.until(session, json('stalled'))
      same(node.all('disowned'), [], 'the calls of disowned')
    }
  },
  {
    name: 'a repeated report is accepted if the store does not have it, and refused if it has',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const reports: Array<[name: string, options: JobOptions]> = [
        ['start', repeated(start)], ['text', repeated(text('abc', jobId, 0))], ['end', repeated(report('complete', { jobId }))]
      ]
      for (const [name, options] of reports) match(await broker.publish(session, json(name), options), { dropped: undefined }, `the ${name} of an unknown job`)
      for (const [name, options] of reports) match(await broker.publish(session, json(name), options), { dropped: 'ended' }, `the ${name} of an ended job`)
      await broker.publish(session, json('start k'), report('start', { jobId: 'k' }))
      match(await broker.publish(session, json('again'), repeated(report('start', { jobId: 'k' }))), { dropped: 'started' }, 'the start of a running job')
      match(await broker.publish(session, json('more'), repeated(text('abc', 'k', 0))), { dropped: undefined }, 'the text of a running job')
      same((await node.until(session, json('more'))).map(({ body }) => body), ['start', 'text', 'end', 'start k', 'more'].map(json), 'the deliveries')
    }
  },
  {
    name: 'the node that reported last owns a job: the presumed end of another node is refused, and its own is accepted',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      for (const { broker } of [a, b]) await broker.join(session)
      await a.broker.publish(session, json('start'), start)
      await b.broker.publish(session, json('progress'), report('progress', { jobId }))
      await disowned(a.node)
      match(await a.broker.publish(session, json('refused'), presumed), { dropped: 'owned' }, 'the presumed end of the previous owner')
      match(await a.broker.publish(session, json('refused'), report('error', { presumed: true })), { dropped: 'owned' }, 'the presumed end without a job id')
      match(await b.broker.publish(session, json('stalled'), presumed), { dropped: undefined }, 'the presumed end of the owner')
      await onlyOwnerChanges(a, b, 1)
      same(a.node.received(session).map(({ body }) => body), ['start', 'progress', 'stalled', 'last'].map(json), 'the deliveries')
    }
  },
  {
    name: 'a real end is accepted from any node, even if another node owns the job',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await a.broker.publish(session, json('start'), start)
      match(await b.broker.publish(session, json('end'), report('complete', { jobId })), { dropped: undefined, jobId }, 'the end')
      match(await a.broker.publish(session, json('stalled'), presumed), { dropped: 'ended' }, 'the presumed end of the owner')
    }
  },
  {
    name: 'a refused start makes its node the owner of the running job',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await a.broker.publish(session, json('start'), start)
      match(await b.broker.publish(session, json('again'), start), { dropped: 'started' }, 'the second start')
      await disowned(a.node)
      match(await a.broker.publish(session, json('stalled'), presumed), { dropped: 'owned' }, 'the presumed end of the previous owner')
      await onlyOwnerChanges(a, b, 1)
    }
  },
  {
    name: 'adopt makes a node the owner of a running job, and has no effect on any other',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await a.broker.publish(session, json('start'), start)
      same(await a.broker.adopt(session, jobId), true, 'adopt of the owner itself')
      same(await b.broker.adopt(session, jobId), true, 'adopt of another node')
      await disowned(a.node)
      match(await a.broker.publish(session, json('stalled'), presumed), { dropped: 'owned' }, 'the presumed end of the previous owner')
      match(await b.broker.publish(session, json('stalled'), presumed), { dropped: undefined }, 'the presumed end of the owner')
      for (const name of [jobId, 'unknown']) same(await b.broker.adopt(session, name), false, `adopt of the job "${name}", which does not run`)
      same(await b.broker.currentJob(session), undefined, 'the current job')
      await onlyOwnerChanges(a, b, 1)
    }
  },
  {
    name: 'release gives up a job, so that another node can adopt it',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await a.broker.publish(session, json('start'), start)
      same(await b.broker.release(session, jobId), false, 'release of a node that does not own it')
      match(await b.broker.publish(session, json('refused'), presumed), { dropped: 'owned' }, 'the presumed end of that node')
      same(await a.broker.release(session, jobId), true, 'release of the owner')
      same(await a.broker.release(session, jobId), false, 'a second release')
      same(await b.broker.adopt(session, jobId), true, 'adopt of another node')
      match(await a.broker.publish(session, json('refused'), presumed), { dropped: 'owned' }, 'the presumed end of the previous owner')
      same(await b.broker.release(session, 'unknown'), false, 'release of an unknown job')
      await onlyOwnerChanges(a, b, 0)
    }
  },
  {
    name: 'a repeated report is refused if another node owns the job, unless it is a real end',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      for (const { broker } of [a, b]) await broker.join(session)
      await a.broker.publish(session, json('start'), start)
      await a.broker.publish(session, json('text'), text('abc', jobId, 0))
      await b.broker.adopt(session, jobId)
      for (const options of [start, text('abc', jobId, 0), text('abcdef', jobId, 0), report('error', { jobId, presumed: true })]) {
        match(await a.broker.publish(session, json('refused'), repeated(options)), { dropped: 'owned' }, 'a repeated report of the previous owner')
      }
      match(await b.broker.publish(session, json('more'), repeated(text('abcdef', jobId, 0))), { dropped: undefined }, 'a repeated text of the owner')
      match(await a.broker.publish(session, json('back'), text('ghi', jobId, 6)), { dropped: undefined }, 'a report that is not repeated')
      await disowned(b.node)
      match(await b.broker.publish(session, json('refused'), repeated(text('abcdef', jobId, 0))), { dropped: 'owned' }, 'a repeated text of the node that owned it in between')
      await a.broker.publish(session, json('last'), durable)
      same((await b.node.until(session, json('last'))).map(({ piece }) => piece?.text), [undefined, 'abc', 'def', 'ghi', undefined], 'the delivered text')
      // The store has lost it, whoever owns the job now.
      match(await b.broker.publish(session, json('end'), repeated(report('complete', { jobId }))), { dropped: undefined }, 'a repeated end')
    }
  },
  {
    name: 'a job whose node was killed is orphaned, and its presumed end is accepted once',
    needs: ['nodes', 'kill'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await b.broker.join(session)
      await a.broker.publish(session, json('start'), start)
      await a.broker.publish(session, json('over'), report('complete', { jobId: 'over' }))
      await a.broker.publish(other, json('start'), report('start', { jobId: 'of both' }))
      await b.broker.publish(other, json('progress'), report('progress', { jobId: 'of both' }))
      await stage.kill(a.broker)
      const { ownership } = await orphaned(b.node)
      const options = report('error', { jobId, presumed: true, ownership })
      match(await b.broker.publish(session, json('interrupted'), options), { dropped: undefined }, 'the presumed end')
      match(await b.broker.publish(session, json('twice'), options), { dropped: 'ended' }, 'a second presumed end')
      match((await b.node.until(session, json('interrupted'))).at(-1), { jobId }, 'the delivery')
      same(b.node.all('orphaned').map((event) => event.jobId), [jobId], 'the orphaned jobs: another one is owned by a living node, or has ended')
    }
  },
  {
    name: 'the presumed end of an orphaned job is refused if a node has reported on it since, or has adopted it',
    needs: ['nodes', 'kill'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      for (const name of [jobId, 'k']) await a.broker.publish(session, json('start'), report('start', { jobId: name }))
      await stage.kill(a.broker)
      const ownerships = await Promise.all([jobId, 'k'].map(async (name) => [name, (await orphaned(b.node, name)).ownership] as const))
      const c = await stage.open()
      await c.broker.publish(session, json('progress'), report('progress', { jobId }))
      same(await c.broker.adopt(session, 'k'), true, 'adopt of an orphaned job')
      for (const [name, ownership] of ownerships) {
        const options = report('error', { jobId: name, presumed: true, ownership })
        match(await b.broker.publish(session, json('interrupted'), options), { dropped: 'owned' }, `the presumed end of the job "${name}"`)
      }
      same(await c.broker.currentJob(session), 'k', 'the current job')
    }
  }
]

/** Waits until a node is told that another node owns the job. */
function disowned (node: RecordingNode): Promise<EventOf<'disowned'>> {
  return node.waitFor(`the call of disowned for ${jobId}`, () => node.all('disowned').find((event) => event.stream === session && event.jobId === jobId))
}

function orphaned (node: RecordingNode, name = jobId): Promise<EventOf<'orphaned'>> {
  return node.waitFor(`the call of orphaned for ${name}`, () => node.all('orphaned').find((event) => event.stream === session && event.jobId === name))
}

/** Checks how often the first node was told that it lost a job. The other one never was. */
async function onlyOwnerChanges (a: OpenNode, b: OpenNode, count: number): Promise<void> {
  await a.broker.join(session)
  await b.broker.join(session)
  await b.broker.publish(session, json('last'), durable)
  for (const { node } of [a, b]) await node.until(session, json('last'))
  same([a, b].map(({ node }) => node.all('disowned').length), [count, 0], 'the number of calls of disowned of each node')
}
