import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { Job, SessionJobs, type Transition, type Verdict } from '../../../lib/streams/session-jobs.js'

function create () {
  const forgotten: string[] = []
  let made = 0
  const jobs = new SessionJobs((id = `made ${++made}`) => new Job(id), ({ id }) => { forgotten.push(id) })
  const apply = (event: Transition['event'], more: Omit<Transition, 'event'> = {}): string => tell(jobs.apply({ event, ...more }))
  return { jobs, apply, forgotten }
}

function tell (verdict: Verdict<Job>): string {
  if ('dropped' in verdict) return verdict.dropped
  return verdict.supersedes ? `${verdict.job.id}, superseding` : verdict.job.id
}

t.test('with a jobId', async (t) => {
  t.test('a job starts once and ends once, and nothing follows the end', async (t) => {
    const { apply } = create()
    const reports = ['start', 'start', 'progress', 'complete', 'start', 'progress', 'complete', 'error'] as const
    t.same(reports.map((event) => apply(event, { jobId: 'j' })), ['j', 'started', 'j', 'j', 'ended', 'ended', 'ended', 'ended'])
  })

  t.test('a start is optional', async (t) => {
    for (const event of ['progress', 'complete', 'error'] as const) t.equal(create().apply(event, { jobId: 'j' }), 'j')
  })

  t.test('several jobs can run at once', async (t) => {
    const { jobs, apply } = create()
    for (const jobId of ['a', 'b', 'c']) apply('start', { jobId })
    apply('error', { jobId: 'b' })
    t.same([...jobs.running].map(({ id }) => id), ['a', 'c'])
    t.same([...jobs.ended].map(({ id, status }) => [id, status]), [['b', 'error']])
    t.equal(jobs.newestRunning?.id, 'c')
  })

  t.test('the real end supersedes a presumed one, once', async (t) => {
    const { jobs, apply } = create()
    apply('start', { jobId: 'j' })
    t.equal(apply('error', { jobId: 'j', presumed: true }), 'j')
    t.equal(apply('error', { jobId: 'j', presumed: true }), 'ended', 'a second presumed end is refused')
    t.equal(apply('progress', { jobId: 'j' }), 'ended')
    t.equal(apply('start', { jobId: 'j' }), 'ended')
    t.equal(apply('complete', { jobId: 'j' }), 'j, superseding')
    t.equal(apply('complete', { jobId: 'j' }), 'ended')
    t.match(jobs.latestEnded, { id: 'j', status: 'complete', presumed: false })
  })
})

t.test('without a jobId', async (t) => {
  t.test('a start begins a new job and ends no other', async (t) => {
    const { jobs, apply } = create()
    t.same([apply('start'), apply('start')], ['made 1', 'made 2'])
    t.same([...jobs.running].map(({ id }) => id), ['made 1', 'made 2'])
  })

  t.test('progress and an end belong to the newest running job', async (t) => {
    const { apply } = create()
    apply('start')
    apply('start', { jobId: 'named' })
    t.same([apply('progress'), apply('complete'), apply('progress'), apply('error')], ['named', 'named', 'made 1', 'made 1'])
  })

  t.test('progress begins a job if there is none', async (t) => {
    t.equal(create().apply('progress', { chunks: 1 }), 'made 1')
  })

  t.test('a result is never dropped', async (t) => {
    const { apply } = create()
    t.same([apply('complete'), apply('complete'), apply('error')], ['made 1', 'made 2', 'made 3'])
  })

  t.test('progress after an end is refused if its count is higher, and begins a new run if it is lower', async (t) => {
    const { apply } = create()
    apply('start')
    apply('progress', { chunks: 25 })
    apply('progress')
    apply('complete')
    t.same([26, 25, undefined].map((chunks) => apply('progress', chunks === undefined ? {} : { chunks })), ['ended', 'ended', 'ended'])
    t.equal(apply('progress', { chunks: 1 }), 'made 2')
  })

  t.test('progress after the end of a job without a count is refused', async (t) => {
    const { apply } = create()
    apply('complete')
    t.equal(apply('progress', { chunks: 1 }), 'ended')
  })

  t.test('the real end supersedes the latest presumed one', async (t) => {
    const { apply } = create()
    apply('start')
    apply('error', { presumed: true })
    t.equal(apply('progress', { chunks: 5 }), 'ended')
    t.equal(apply('complete'), 'made 1, superseding')
    t.equal(apply('complete'), 'made 2')
  })

  t.test('a presumed end without a job is refused', async (t) => {
    const { apply } = create()
    t.equal(apply('error', { presumed: true }), 'stray')
  })
})

t.test('the verdict on a late report names its job if the end was only presumed', async (t) => {
  const { jobs, apply } = create()
  apply('error', { jobId: 'real' })
  t.strictSame(jobs.apply({ event: 'progress', jobId: 'real' }), { dropped: 'ended' })
  apply('error', { jobId: 'stalled', presumed: true })
  t.match(jobs.apply({ event: 'progress', jobId: 'stalled' }), { dropped: 'ended', presumed: { id: 'stalled' } })
  t.match(jobs.apply({ event: 'progress' }), { dropped: 'ended', presumed: { id: 'stalled' } })
})

t.test('a limited number of ended jobs is remembered, the latest ones', async (t) => {
  const { jobs, apply, forgotten } = create()
  for (let n = 1; n <= 33; n++) apply('complete', { jobId: `${n}` })
  t.same(forgotten, ['1'])
  t.equal([...jobs.ended].length, 32)
  apply('start', { jobId: 'runs' })
  jobs.forgetEnded()
  t.equal(forgotten.length, 33)
  t.equal(jobs.latestEnded, undefined)
  t.equal(jobs.newestRunning?.id, 'runs')
})

t.test('each job has at most one real end, no result without a jobId is dropped, and nothing follows an end, whatever is reported', async () => {
  const event = fc.constantFrom('start' as const, 'progress' as const, 'complete' as const, 'error' as const)
  const report: fc.Arbitrary<Transition> = fc.record({
    event, jobId: fc.constantFrom('a', 'b'), chunks: fc.nat(5), presumed: fc.boolean()
  }, { requiredKeys: ['event'] })
  fc.assert(fc.property(fc.array(report, { maxLength: 30, size: 'max' }), (reports) => {
    const { jobs } = create()
    const ended = new Map<Job, 'presumed' | 'real'>()
    for (const { presumed: wanted, ...rest } of reports) {
      const presumed = rest.event === 'error' && wanted === true
      const report = { ...rest, presumed }
      const verdict = jobs.apply(report)
      const isEnd = report.event === 'complete' || report.event === 'error'
      if ('dropped' in verdict) {
        assert(report.jobId !== undefined || !isEnd || presumed)
        continue
      }
      const before = ended.get(verdict.job)
      assert.equal(verdict.supersedes, before === 'presumed')
      assert(before === undefined || (before === 'presumed' && isEnd && !presumed))
      if (isEnd) ended.set(verdict.job, presumed ? 'presumed' : 'real')
      assert.equal([...jobs.running].includes(verdict.job), !isEnd)
      if (report.event === 'start' && report.jobId === undefined) assert.equal(jobs.newestRunning, verdict.job)
    }
  }))
})
