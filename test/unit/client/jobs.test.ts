import t from 'tap'
import { Jobs, snapshotOf, type JobMessage } from '../../../lib/client/jobs.js'

const start = (jobId?: string): JobMessage => ({ type: 'ai_start', sessionId: 's', task: { prompt: 'x' }, timestamp: 't1', ...(jobId !== undefined && { jobId }) })
const progress = (jobId: string | undefined, fields: object = {}): JobMessage =>
  ({ type: 'ai_progress', sessionId: 's', progress: { chunksReceived: 1, ...fields }, timestamp: 't2', ...(jobId !== undefined && { jobId }) })
const text = (jobId: string, delta: string, offset: number, truncated = false): JobMessage => progress(jobId, { delta, offset, ...(truncated && { truncated }) })
const complete = (jobId?: string, fields: object = {}): JobMessage =>
  ({ type: 'ai_complete', sessionId: 's', result: { chunks: 1 }, timestamp: 't3', ...(jobId !== undefined && { jobId }), ...fields })
const failed = (jobId: string): JobMessage => ({ type: 'ai_error', sessionId: 's', error: { message: 'm', type: 'stalled' }, timestamp: 't3', jobId })

function jobsAfter (...messages: JobMessage[]): Jobs {
  const jobs = new Jobs()
  for (const message of messages) jobs.apply(message, false)
  return jobs
}
const latest = (jobs: Jobs) => jobs.latest
const find = (jobs: Jobs, jobId: string) => jobs.views.find((job) => job.jobId === jobId)

t.test('a job goes through start, progress and completion', async (t) => {
  const jobs = new Jobs()
  t.same(jobs.views, [])
  t.equal(jobs.apply(start('a'), false), 'emit')
  t.match(latest(jobs), { jobId: 'a', status: 'processing', task: { prompt: 'x' }, progress: undefined, text: '', startedAt: 't1' })
  t.equal(jobs.apply(progress('a'), false), 'emit')
  t.match(latest(jobs), { status: 'processing', progress: { chunksReceived: 1 } })
  t.equal(jobs.apply(complete('a'), false), 'emit')
  t.match(latest(jobs), { status: 'complete', result: { chunks: 1 }, error: undefined, endedAt: 't3' })
  t.match(jobsAfter(start('a'), failed('a')).latest, { status: 'error', error: { type: 'stalled' } })
})

t.test('a snapshot is immutable', async (t) => {
  const jobs = jobsAfter(start('a'))
  const before = snapshotOf(jobs, true, 'subscribed')
  jobs.apply(progress('a'), false)
  t.equal(before.latest?.progress, undefined)
  t.match(jobs.latest?.progress, { chunksReceived: 1 })
  t.ok([before, before.jobs, before.latest].every(Object.isFrozen))
  t.same([before.find('a'), before.find('b')], [before.latest, undefined])
})

t.test('after a job\'s end, further messages and ends are ignored', async (t) => {
  const jobs = jobsAfter(start('a'), complete('a'))
  const before = jobs.views
  t.same([jobs.apply(start('a'), false), jobs.apply(complete('a'), false), jobs.apply(failed('a'), false)], ['drop', 'drop', 'drop'])
  t.same(jobs.views, before)
  t.equal(jobs.apply(progress('a', { chunksReceived: 9 }), false), 'drop')
  t.match(latest(jobs), { status: 'complete', progress: undefined })
})

t.test('the real end of a job overrides a presumed one', async (t) => {
  const jobs = jobsAfter(start('a'), failed('a'))
  t.equal(jobs.apply(complete('a', { supersedes: true }), false), 'emit')
  t.match(latest(jobs), { status: 'complete', error: undefined, result: { chunks: 1 } })
})

t.test('a new job starts without the progress of the previous one', async (t) => {
  const jobs = jobsAfter(start('a'), text('a', 'old', 0), complete('a'), start('b'))
  t.match(latest(jobs), { jobId: 'b', status: 'processing', progress: undefined, text: '', result: undefined })
})

t.test('the latest job is the one that started or ended last; progress of a running job replaces an ended one as latest', async (t) => {
  const jobs = jobsAfter(start('a'), start('b'))
  t.equal(latest(jobs)?.jobId, 'b')
  jobs.apply(progress('a'), false)
  t.equal(latest(jobs)?.jobId, 'b', 'but does not replace a running one')
  jobs.apply(complete('b'), false)
  t.match(latest(jobs), { jobId: 'b', status: 'complete' })
  jobs.apply(progress('a'), false)
  t.equal(latest(jobs)?.jobId, 'a')
  jobs.apply(complete('a'), false)
  t.match(latest(jobs), { jobId: 'a', status: 'complete' })
})

t.test('without job ids a start begins another job, and later messages belong to it', async (t) => {
  const jobs = jobsAfter(start(), progress(undefined), complete())
  t.match(latest(jobs), { jobId: '', status: 'complete' })
  t.equal(jobs.apply(start(), false), 'emit')
  t.match(latest(jobs), { status: 'processing', progress: undefined })
  t.equal(jobs.running, '')
})

t.test('text is assembled by offset, and duplicates have no effect', async (t) => {
  const jobs = jobsAfter(start('a'), text('a', 'hel', 0), text('a', 'hello', 0), text('a', 'lo y', 3), text('a', 'ou', 7), text('a', 'hello', 0))
  t.match(latest(jobs), { text: 'hello you', truncated: false, progress: { chunksReceived: 1 } })
  t.notOk('delta' in latest(jobs)!.progress!, 'progress does not contain the delta')
  t.same(jobs.have, { a: 9 })
})

t.test('text after a gap is dropped, unless gaps are allowed or the server marks it as truncated', async (t) => {
  const jobs = jobsAfter(start('a'), text('a', 'hel', 0))
  t.equal(jobs.apply(text('a', 'you', 6), false), 'gap')
  t.match(latest(jobs), { text: 'hel' })
  t.equal(jobs.apply(text('a', 'you', 6), true), 'emit')
  t.match(latest(jobs), { text: 'you', truncated: true })
  t.equal(jobs.apply(text('a', 'later', 100, true), false), 'emit')
  t.match(latest(jobs), { text: 'later', truncated: true })
  t.same(jobs.have, { a: 105 })
})

t.test('text that arrives after the end completes the job\'s text and changes nothing else', async (t) => {
  const jobs = jobsAfter(start('a'), text('a', 'hel', 0), complete('a'))
  t.equal(jobs.apply(text('a', 'hello', 0), false), 'drop')
  t.match(latest(jobs), { text: 'hello', status: 'complete' })
})

t.test('`have` contains the text lengths of running jobs and of the latest one', async (t) => {
  const jobs = jobsAfter(start('a'), text('a', 'aa', 0), complete('a'), start('b'), text('b', 'bbb', 0), start('c'))
  t.same(jobs.have, { b: 3 })
  t.equal(jobs.running, 'c')
  t.same(jobsAfter(start('a'), text('a', 'aa', 0), complete('a')).have, { a: 2 })
  t.equal(new Jobs().have, undefined)
  t.equal(new Jobs().running, undefined)
})

t.test('a running job that the snapshot does not contain is lost, and any message about it overrules that', async (t) => {
  const error = { message: 'm', type: 'lost' }
  const jobs = jobsAfter(start('a'), start('b'), start('done'), complete('done'))
  jobs.expectSnapshot()
  jobs.confirm('a')
  jobs.confirm('unknown')
  t.same(jobs.lose(error, 't', 'unconfirmed'), ['b'])
  t.match(find(jobs, 'b'), { status: 'error', error: { type: 'lost' } })
  t.equal(find(jobs, 'a')?.status, 'processing')
  jobs.revive('b')
  t.match(find(jobs, 'b'), { status: 'processing', error: undefined, endedAt: undefined })
  jobs.expectSnapshot()
  jobs.lose(error, 't', 'unconfirmed')
  t.equal(jobs.apply(start('a'), false), 'emit')
  t.equal(jobs.apply(progress('b'), false), 'emit')
  t.match(find(jobs, 'b'), { status: 'processing', error: undefined })
  jobs.expectSnapshot()
  t.same(jobs.lose(error, 't', 'unconfirmed'), ['a', 'b'])
  t.equal(jobs.apply(complete('b'), false), 'emit')
  t.match(find(jobs, 'b'), { status: 'complete', error: undefined })
})

t.test('a job that was lost with the connection counts as running again after a complete recovery', async (t) => {
  const jobs = jobsAfter(start('a'), start('b'))
  t.same(jobs.lose({ message: 'm', type: 'lost' }, 't', 'suspended'), ['a', 'b'])
  t.equal(jobs.running, undefined)
  jobs.apply(complete('b'), false)
  jobs.resume()
  t.match(jobs.views.map(({ status }) => status).sort(), ['complete', 'processing'])
  jobs.lose({ message: 'm', type: 'lost' }, 't', 'suspended')
  jobs.expectSnapshot()
  jobs.resume()
  t.equal(jobs.running, undefined, 'but not after an incomplete one')
})

t.test('ended jobs are removed in the order of their ends, running ones never', async (t) => {
  const jobs = jobsAfter(start('running'), start('first'))
  for (let i = 0; i < 40; i++) jobs.apply(complete(`j${i}`), false)
  jobs.apply(complete('first'), false)
  const { views: known, latest } = jobs
  t.equal(known.length, 33)
  const ids = known.map(({ jobId }) => jobId)
  t.ok(ids.includes('running') && ids.includes('first') && ids.includes('j39') && !ids.includes('j0'))
  t.equal(latest?.jobId, 'first')
})
