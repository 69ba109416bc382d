import type { Test } from 'tap'
import type { PublishOptions } from '../../lib/streams/broker.js'
import { bodies, json, numbered, other, positionOf, report, session, type Start } from './contract-stage.js'

/** The job rules are checked in the same step as the publish. `test/unit/streams/session-jobs.test.ts` tests every rule. */
export function jobsContract (t: Test, start: Start): void {
  t.test('a job', (t) => {
    t.test('that is started without an id gets one, and all of its messages carry it', async (t) => {
      const { broker, node } = await start(t)
      const started = await broker.publish(session, json('start'), report('start'))
      const { jobId } = started
      t.match(started, { seq: 1, jobId: /./ })
      t.notOk('dropped' in started)
      t.equal(await broker.currentJob(session), jobId)
      t.match(await broker.publish(session, json('progress'), report('progress')), { seq: 1, jobId })
      t.match(await broker.publish(session, json('end'), report('complete')), { seq: 2, jobId })
      t.equal(await broker.currentJob(session), undefined)
      t.match(await node.until(session, json('end')), [
        { seq: 1, jobId, durable: true }, { jobId, durable: false }, { seq: 2, jobId, durable: true }
      ])
    })

    t.test('keeps a given id, whatever characters it contains', async (t) => {
      const { broker, node } = await start(t)
      for (const jobId of ['__proto__', 'a "b"\\', 'é💡', '0']) {
        t.match(await broker.publish(session, json(`start ${jobId}`), report('start', { jobId })), { jobId })
        t.equal((await node.until(session, json(`start ${jobId}`))).at(-1)?.jobId, jobId)
        t.equal(await broker.currentJob(session), jobId, 'the newest running job is the current one')
      }
      for (const jobId of ['a "b"\\', '0', 'é💡']) await broker.publish(session, json('end'), report('error', { jobId }))
      t.equal(await broker.currentJob(session), '__proto__')
      t.equal(await broker.currentJob(other), undefined, 'each stream has its own jobs')
    })

    t.test('of an unknown session is undefined', async (t) => {
      const { broker } = await start(t)
      t.equal(await broker.currentJob(session), undefined)
    })

    t.test('is the newest running one for a report without an id', async (t) => {
      const { broker } = await start(t)
      const [first, second] = [await broker.publish(session, json('1'), report('start')), await broker.publish(session, json('2'), report('start'))]
      t.not(first.jobId, second.jobId, 'a start begins a new job and ends no other')
      t.equal((await broker.publish(session, json('p'), report('progress'))).jobId, second.jobId)
      t.equal((await broker.publish(session, json('e'), report('complete'))).jobId, second.jobId)
      t.equal((await broker.publish(session, json('p'), report('progress'))).jobId, first.jobId)
      t.equal((await broker.publish(session, json('e'), report('error'))).jobId, first.jobId)
    })

    t.test('can end without a start: a result is never dropped', async (t) => {
      const { broker } = await start(t)
      const ends = [
        await broker.publish(session, json('a'), report('complete')),
        await broker.publish(session, json('b'), report('complete')),
        await broker.publish(session, json('c'), report('error'))
      ]
      t.equal(new Set(ends.map(({ jobId }) => jobId)).size, 3)
      t.strictSame(ends.map(({ seq, dropped }) => [seq, dropped]), [[1, undefined], [2, undefined], [3, undefined]])
    })

    t.test('refuses reports that break its rules, without any other effect', async (t) => {
      const { broker, node } = await start(t)
      node.subscribers = 1
      const jobId = 'j'
      const refusals: Array<[dropped: string, options: PublishOptions]> = [
        ['started', report('start', { jobId })],
        ['ended', report('start', { jobId: 'over' })],
        ['ended', report('progress', { jobId: 'over', chunks: 0 })],
        ['ended', report('complete', { jobId: 'over' })],
        ['ended', report('error', { jobId: 'over' })],
        ['ended', report('error', { jobId: 'over', presumed: true })]
      ]
      await broker.publish(session, json('over'), report('complete', { jobId: 'over' }))
      await broker.publish(session, json('start'), report('start', { jobId }))
      const before = await broker.join(session)
      for (const [dropped, options] of refusals) {
        const refused = await broker.publish(session, json('refused'), options)
        t.strictSame(refused, { ...positionOf(before), recipients: 0, dropped }, JSON.stringify(options.job))
      }
      t.strictSame(await broker.join(session), before)
      await broker.publish(session, json('end'), report('complete', { jobId }))
      t.strictSame((await node.until(session, json('end'))).map(({ body }) => body), ['over', 'start', 'end'].map(json))
    })

    t.test('that has ended is not reopened by a late report, but a lower chunk count begins a new run', async (t) => {
      const { broker } = await start(t)
      t.match(await broker.publish(session, json('stray'), report('error', { presumed: true })), { dropped: 'stray' })
      const { jobId } = await broker.publish(session, json('p'), report('progress', { chunks: 7 }))
      t.match(await broker.publish(session, json('e'), report('complete')), { jobId })
      t.match(await broker.publish(session, json('p'), report('progress', { chunks: 8 })), { dropped: 'ended' })
      const again = await broker.publish(session, json('p'), report('progress', { chunks: 1 }))
      t.notOk('dropped' in again)
      t.not(again.jobId, jobId)
      t.equal(await broker.currentJob(session), again.jobId)
    })

    t.test('accepts one of two ends that race, and refuses the other', async (t) => {
      const { broker, node } = await start(t)
      for (let round = 0; round < 10; round++) {
        const jobId = String(round)
        await broker.publish(session, json(`start ${round}`), report('start', { jobId }))
        const ends = await Promise.all((['complete', 'error'] as const).map(async (event) => broker.publish(session, json(`${event} ${round}`), report(event, { jobId }))))
        t.strictSame(ends.map(({ dropped }) => dropped).sort(), ['ended', undefined])
      }
      await broker.publish(session, json('last'), report('start', { jobId: 'last' }))
      const delivered = await node.until(session, json('last'))
      for (let round = 0; round < 10; round++) t.equal(delivered.filter(({ jobId }) => jobId === String(round)).length, 2, 'a start and an end')
    })

    t.test('can really end once after a presumed end', async (t) => {
      const { broker, node } = await start(t)
      for (const name of ['named', undefined]) {
        const job = name === undefined ? {} : { jobId: name }
        const { jobId } = await broker.publish(session, json('start'), report('start', job))
        t.notOk('dropped' in await broker.publish(session, json('stalled'), report('error', { ...job, presumed: true })))
        t.match(await broker.publish(session, json('late'), report('progress', job)), { dropped: 'ended' })
        const real = await broker.publish(session, json(`real ${String(name)}`), report('complete', job))
        t.equal(real.jobId, jobId)
        const delivered = await node.until(session, json(`real ${String(name)}`))
        t.match(delivered.at(-1), { jobId, supersedes: true })
        t.notOk(delivered.at(-2)?.supersedes, 'the presumed end supersedes nothing')
        const present = await broker.join(session)
        t.equal(present.replay.at(-1)?.body, json(`real ${String(name)}`), 'and the snapshot contains the real end')
      }
      t.match(await broker.publish(session, json('again'), report('complete', { jobId: 'named' })), { dropped: 'ended' })
    })
    t.end()
  })

  t.test('a report that is too large to keep', (t) => {
    const big = JSON.stringify({ type: 'note', ballast: 'x'.repeat(200_000) })
    const maxTotalBytes = 100_000
    const withShortForm = (event: 'start' | 'complete' | 'error'): PublishOptions => ({ ...report(event, { jobId: 'j' }), shortForm: () => json(`short form of ${event}`) })

    t.test('is delivered in full, and its short form is kept in its place', async (t) => {
      for (const event of ['complete', 'error'] as const) {
        const { broker, node } = await start(t, { maxTotalBytes })
        const since = positionOf(await broker.publish(session, json('before'), { durable: true }))
        t.match(await broker.publish(session, big, withShortForm(event)), { seq: 2, jobId: 'j', kept: false })
        t.match((await node.until(session, big)).at(-1), { body: big, seq: 2, jobId: 'j' })
        for (const joined of [await broker.join(session), await broker.join(session, since)]) {
          t.match(joined.replay, [{ body: json(`short form of ${event}`), seq: 2, jobId: 'j', durable: true }])
        }
        t.match(await broker.publish(session, json('again'), report('complete', { jobId: 'j' })), { dropped: 'ended' })
      }
    })

    t.test('can be the start of a job, which runs all the same', async (t) => {
      const { broker } = await start(t, { maxTotalBytes })
      t.match(await broker.publish(session, big, withShortForm('start')), { kept: false })
      t.strictSame(bodies(await broker.join(session)), [json('short form of start')])
      t.notOk('kept' in await broker.publish(session, json('end'), withShortForm('complete')), 'a report that is not too large is kept in full')
      t.strictSame(bodies(await broker.join(session)), [json('end')])
    })
    t.end()
  })

  t.test('the snapshot', (t) => {
    t.test('contains the start and the newest progress of each running job, and the latest end, in order', async (t) => {
      const { broker } = await start(t)
      const tell = (event: Parameters<typeof report>[0], jobId: string, name = `${event} ${jobId}`): unknown =>
        broker.publish(session, json(name), report(event, { jobId }))
      for (const jobId of ['a', 'b', 'c', 'd']) await tell('start', jobId)
      for (const name of ['1', '2']) for (const jobId of ['d', 'a']) await tell('progress', jobId, `progress ${jobId} ${name}`)
      await tell('complete', 'b')
      await tell('error', 'c')
      await tell('progress', 'd', 'progress d 3')
      const joined = await broker.join(session)
      t.strictSame(numbered(joined.replay), [
        [1, json('start a')], [4, json('start d')], [undefined, json('progress a 2')], [6, json('error c')], [undefined, json('progress d 3')]
      ])
      t.strictSame(joined.replay.map(({ jobId }) => jobId), ['a', 'd', 'a', 'c', 'd'])
    })

    t.test('contains only the progress of a job that was never started', async (t) => {
      const { broker } = await start(t)
      await broker.publish(session, json('p'), report('progress', { chunks: 1 }))
      t.strictSame(bodies(await broker.join(session)), [json('p')])
    })

    t.test('is kept even if no messages are kept', async (t) => {
      const { broker } = await start(t, { maxMessages: 0 })
      await broker.publish(session, json('end'), report('complete'))
      await broker.publish(session, json('start'), report('start'))
      t.strictSame(bodies(await broker.join(session)), [json('end'), json('start')])
    })
    t.end()
  })

  t.test('a recovered subscriber gets the newest progress of each running job in addition to the missed messages', async (t) => {
    const { broker } = await start(t)
    await broker.publish(session, json('start a'), report('start', { jobId: 'a' }))
    const since = positionOf(await broker.publish(session, json('start b'), report('start', { jobId: 'b' })))
    await broker.publish(session, json('progress a 1'), report('progress', { jobId: 'a' }))
    await broker.publish(session, json('progress a 2'), report('progress', { jobId: 'a' }))
    await broker.publish(session, json('progress b'), report('progress', { jobId: 'b' }))
    await broker.publish(session, json('start c'), report('start', { jobId: 'c' }))
    await broker.publish(session, json('end b'), report('complete', { jobId: 'b' }))
    const joined = await broker.join(session, since)
    t.equal(joined.recovered, true)
    t.strictSame(numbered(joined.replay), [[undefined, json('progress a 2')], [3, json('start c')], [4, json('end b')]],
      'of an ended job only the end')
  })
}
