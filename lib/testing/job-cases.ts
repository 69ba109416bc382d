import type { PublishOptions } from '../streams/broker.js'
import type { DropReason } from '../streams/session-jobs.js'
import type { ContractCase } from './contract-case.js'
import { holds, match, same } from './expect.js'
import { bodies, numbered } from './received.js'
import { json, other, positionOf, report, session } from './reports.js'

/** The rules of jobs, which are checked in the same step as the publish, and the snapshot. */
export const jobCases: readonly ContractCase[] = [
  {
    name: 'a job that is started without an id gets one, and all of its messages carry it',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const started = await broker.publish(session, json('start'), report('start'))
      const { jobId = '' } = started
      match(started, { seq: 1, dropped: undefined }, 'the result of the start')
      holds(jobId !== '', 'the result of the start has no jobId')
      same(await broker.currentJob(session), jobId, 'the current job')
      match(await broker.publish(session, json('progress'), report('progress')), { seq: 1, jobId }, 'the result of the progress')
      match(await broker.publish(session, json('end'), report('complete')), { seq: 2, jobId }, 'the result of the end')
      same(await broker.currentJob(session), undefined, 'the current job after the end')
      match(await node.until(session, json('end')), [
        { seq: 1, jobId, durable: true }, { seq: undefined, jobId, durable: false }, { seq: 2, jobId, durable: true }
      ], 'the deliveries')
    }
  },
  {
    name: 'a job keeps a given id, whatever characters it contains',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      for (const jobId of ['__proto__', 'a "b"\\', 'é💡', '0']) {
        match(await broker.publish(session, json(`start ${jobId}`), report('start', { jobId })), { jobId }, 'the result of the start')
        match((await node.until(session, json(`start ${jobId}`))).at(-1), { jobId }, 'the delivery')
        same(await broker.currentJob(session), jobId, 'the current job, which is the newest running one')
      }
      for (const jobId of ['a "b"\\', '0', 'é💡']) await broker.publish(session, json('end'), report('error', { jobId }))
      same(await broker.currentJob(session), '__proto__', 'the only running job')
      same(await broker.currentJob(other), undefined, 'the current job of another stream')
    }
  },
  {
    name: 'a report without an id is about the newest running job',
    run: async (stage) => {
      const { broker } = await stage.open()
      const jobOf = async (event: 'start' | 'progress' | 'complete' | 'error'): Promise<string | undefined> =>
        (await broker.publish(session, json(event), report(event))).jobId
      const [first, second] = [await jobOf('start'), await jobOf('start')]
      holds(first !== second, 'a second start got the id of the first job')
      same([await jobOf('progress'), await jobOf('complete')], [second, second], 'the newest job')
      same([await jobOf('progress'), await jobOf('error')], [first, first], 'the older job')
    }
  },
  {
    name: 'a job can end without a start: a result is never dropped',
    run: async (stage) => {
      const { broker } = await stage.open()
      const ends = [
        await broker.publish(session, json('a'), report('complete')),
        await broker.publish(session, json('b'), report('complete')),
        await broker.publish(session, json('c'), report('error'))
      ]
      same(new Set(ends.map(({ jobId }) => jobId)).size, 3, 'the number of jobs')
      same(ends.map(({ seq, dropped }) => [seq, dropped]), [[1, undefined], [2, undefined], [3, undefined]], 'the results')
    }
  },
  {
    name: 'a report that breaks the rules of its job is refused, without any other effect',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      node.subscribers = 1
      const refusals: Array<[dropped: DropReason, options: PublishOptions]> = [
        ['started', report('start', { jobId: 'j' })],
        ['ended', report('start', { jobId: 'over' })],
        ['ended', report('progress', { jobId: 'over', chunks: 0 })],
        ['ended', report('complete', { jobId: 'over' })],
        ['ended', report('error', { jobId: 'over' })],
        ['ended', report('error', { jobId: 'over', presumed: true })]
      ]
      await broker.join(session)
      await broker.publish(session, json('over'), report('complete', { jobId: 'over' }))
      await broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      const before = await broker.join(session)
      for (const [dropped, options] of refusals) {
        const refused = await broker.publish(session, json('refused'), options)
        match(refused, { ...positionOf(before), recipients: 0, dropped, jobId: undefined, kept: undefined }, JSON.stringify(options.job))
      }
      const after = await broker.join(session)
      match(after, { ...positionOf(before), revision: before.revision }, 'the position after the refusals')
      same(numbered(after.replay), numbered(before.replay), 'the snapshot after the refusals')
      await broker.publish(session, json('end'), report('complete', { jobId: 'j' }))
      same((await node.until(session, json('end'))).map(({ body }) => body), ['over', 'start', 'end'].map(json), 'the deliveries')
    }
  },
  {
    name: 'a job that has ended is not reopened by a late report, but a lower chunk count begins a new run',
    run: async (stage) => {
      const { broker } = await stage.open()
      match(await broker.publish(session, json('stray'), report('error', { presumed: true })), { dropped: 'stray' }, 'a presumed end without a job')
      const { jobId } = await broker.publish(session, json('p'), report('progress', { chunks: 7 }))
      match(await broker.publish(session, json('e'), report('complete')), { jobId }, 'the end')
      match(await broker.publish(session, json('p'), report('progress', { chunks: 8 })), { dropped: 'ended' }, 'a late progress')
      const again = await broker.publish(session, json('p'), report('progress', { chunks: 1 }))
      match(again, { dropped: undefined }, 'a progress with a lower count')
      holds(again.jobId !== jobId, 'the new run has the id of the ended job')
      same(await broker.currentJob(session), again.jobId, 'the current job')
    }
  },
  {
    name: 'of two ends of a job that race, one is accepted and the other one refused',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      for (let round = 0; round < 10; round++) {
        const jobId = String(round)
        await broker.publish(session, json(`start ${round}`), report('start', { jobId }))
        const ends = await Promise.all((['complete', 'error'] as const).map((event) => broker.publish(session, json(`${event} ${round}`), report(event, { jobId }))))
        same(ends.map(({ dropped }) => dropped).sort(), ['ended', undefined], `the results of round ${round}`)
      }
      await broker.publish(session, json('last'), report('start', { jobId: 'last' }))
      const messages = await node.until(session, json('last'))
      for (let round = 0; round < 10; round++) same(messages.filter(({ jobId }) => jobId === String(round)).length, 2, `the number of messages of job ${round}`)
    }
  },
  {
    name: 'a job can really end once after a presumed end',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      for (const [name, job] of [['named', { jobId: 'named' }], ['unnamed', {}]] as const) {
        const { jobId } = await broker.publish(session, json(`start ${name}`), report('start', job))
        match(await broker.publish(session, json('stalled'), report('error', { ...job, presumed: true })), { dropped: undefined }, 'the presumed end')
        match(await broker.publish(session, json('late'), report('progress', job)), { dropped: 'ended' }, 'a progress after it')
        match(await broker.publish(session, json(`real ${name}`), report('complete', job)), { jobId, dropped: undefined }, 'the real end')
        const messages = await node.until(session, json(`real ${name}`))
        match(messages.slice(-2), [{ jobId, supersedes: false }, { jobId, supersedes: true }], 'both ends')
        same(bodies(await broker.join(session)).at(-1), json(`real ${name}`), 'the end in the snapshot')
      }
      match(await broker.publish(session, json('again'), report('complete', { jobId: 'named' })), { dropped: 'ended' }, 'a second real end')
    }
  },
  {
    name: 'the snapshot contains the start and the newest progress of each running job, and the latest end, in order',
    run: async (stage) => {
      const { broker } = await stage.open()
      const tell = (event: 'start' | 'progress' | 'complete' | 'error', jobId: string, name = `${event} ${jobId}`): Promise<unknown> =>
        broker.publish(session, json(name), report(event, { jobId }))
      for (const jobId of ['a', 'b', 'c', 'd']) await tell('start', jobId)
      for (const name of ['1', '2']) for (const jobId of ['d', 'a']) await tell('progress', jobId, `progress ${jobId} ${name}`)
      await tell('complete', 'b')
      await tell('error', 'c')
      await tell('progress', 'd', 'progress d 3')
      const { replay } = await broker.join(session)
      same(numbered(replay), [
        [1, json('start a')], [4, json('start d')], [undefined, json('progress a 2')], [6, json('error c')], [undefined, json('progress d 3')]
      ], 'the snapshot')
      same(replay.map(({ jobId }) => jobId), ['a', 'd', 'a', 'c', 'd'], 'the jobs in the snapshot')
    }
  },
  {
    name: 'the snapshot contains only the progress of a job that was never started',
    run: async (stage) => {
      const { broker } = await stage.open()
      await broker.publish(session, json('p'), report('progress', { chunks: 1 }))
      same(bodies(await broker.join(session)), [json('p')], 'the snapshot')
    }
  },
  {
    name: 'a recovered subscriber gets the newest progress of each running job in addition to the missed messages',
    run: async (stage) => {
      const { broker } = await stage.open()
      await broker.publish(session, json('start a'), report('start', { jobId: 'a' }))
      const since = positionOf(await broker.publish(session, json('start b'), report('start', { jobId: 'b' })))
      for (const [name, jobId] of [['a 1', 'a'], ['a 2', 'a'], ['b', 'b']] as const) await broker.publish(session, json(`progress ${name}`), report('progress', { jobId }))
      await broker.publish(session, json('start c'), report('start', { jobId: 'c' }))
      await broker.publish(session, json('end b'), report('complete', { jobId: 'b' }))
      const joined = await broker.join(session, { since })
      match(joined, { recovered: true }, 'the join')
      same(numbered(joined.replay), [[undefined, json('progress a 2')], [3, json('start c')], [4, json('end b')]], 'the replay: of an ended job only the end')
    }
  }
]
