import { getEventListeners } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { track } from '../../../lib/jobs/track.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeReporter } from '../../support/fake-reporter.js'

const task = { mode: 'generate' }

/** A source that waits for the test's chunks, and records how it was closed. */
function waiting () {
  const nobody = (): void => undefined
  const seen = { closed: 0, give: nobody as (chunk: string) => void, finish: nobody, fail: nobody as (error: Error) => void }
  const source: AsyncIterableIterator<string> = {
    next: () => new Promise((resolve, reject) => {
      seen.give = (value) => { resolve({ done: false, value }) }
      seen.finish = () => { resolve({ done: true, value: undefined }) }
      seen.fail = reject
    }),
    return: () => {
      seen.closed++
      return Promise.resolve({ done: true, value: undefined })
    },
    [Symbol.asyncIterator]: () => source
  }
  return { source, seen }
}

/** A job with a source that waits, and two ways to abort it. */
function start () {
  const clock = new FakeClock()
  const reporter = fakeReporter()
  const caller = new AbortController()
  const { source, seen } = waiting()
  const chunks = track(reporter, task, source, { text: true, signal: caller.signal }, clock)
  return { clock, reporter, caller, source: seen, chunks }
}

const ways = [
  ['the caller\'s signal', (job: ReturnType<typeof start>, reason?: unknown) => { job.caller.abort(reason) }],
  ['a client\'s cancel', (job: ReturnType<typeof start>, reason?: unknown) => { job.reporter.cancel(reason) }]
] as const
for (const [what, abort] of ways) {
  t.test(`${what} ends the job at once while it waits for a chunk`, async (t) => {
    const job = start()
    const first = job.chunks.next()
    await turn()
    job.source.give('a')
    await first
    const second = job.chunks.next()
    await turn()
    job.source.give('b')
    await second
    const third = job.chunks.next()
    await turn()
    const reason = new Error('not wanted any more')
    abort(job, reason)
    t.same(job.reporter.ends, [['error', { message: 'not wanted any more', type: 'cancelled' }]])
    t.equal(job.reporter.text, 'ab')
    t.equal(job.source.closed, 1)
    t.equal(job.clock.pending, 0)
    t.equal(await third.catch((error: unknown) => error), reason)
    t.same(await job.chunks.next(), { done: true, value: undefined })
  })

  t.test(`${what} ends the job at once while its reader is busy, and the next read throws`, async (t) => {
    const job = start()
    const first = job.chunks.next()
    await turn()
    job.source.give('a')
    await first
    abort(job)
    t.match(job.reporter.ends, [['error', { type: 'cancelled' }]])
    t.equal(job.source.closed, 1)
    await t.rejects(job.chunks.next(), { name: 'AbortError' })
  })

  t.test(`${what} ends a job without a reader`, async (t) => {
    const job = start()
    abort(job)
    t.match(job.reporter.ends, [['error', { type: 'cancelled' }]])
    t.equal(job.source.closed, 1)
    await t.rejects(job.chunks.next(), { name: 'AbortError' })
  })

  t.test(`${what} before the last chunk was read ends it as cancelled, and after it changes nothing`, async (t) => {
    const before = start()
    const next = before.chunks.next()
    await turn()
    before.source.finish()
    abort(before)
    await t.rejects(next, { name: 'AbortError' })
    t.match(before.reporter.ends, [['error', { type: 'cancelled' }]])

    const after = start()
    const last = after.chunks.next()
    await turn()
    after.source.finish()
    await last
    abort(after)
    t.match(after.reporter.reports, [['complete', {}]])
    t.equal(after.source.closed, 0)
  })

  t.test(`chunks after ${what} are ignored`, async (t) => {
    for (const late of ['give', 'finish', 'fail'] as const) {
      const job = start()
      const next = job.chunks.next()
      await turn()
      abort(job)
      if (late === 'fail') job.source.fail(new Error('aborted'))
      else job.source[late]('late')
      await t.rejects(next, { name: 'AbortError' })
      t.match(job.reporter.reports, [['error', { type: 'cancelled' }]])
    }
  })

  t.test(`a reader can leave without delay after ${what}`, async (t) => {
    const job = start()
    abort(job)
    t.same(await job.chunks.return(undefined), { done: true, value: undefined })
    t.same(await job.chunks.next(), { done: true, value: undefined })
    t.equal(job.reporter.ends.length, 1)
  })
}

t.test('a signal that timed out ends the job as a timeout, and throws it to the reader', async (t) => {
  const reason = new DOMException('The operation was aborted due to timeout', 'TimeoutError')
  for (const abort of [(job: ReturnType<typeof start>) => { job.caller.abort(reason) }, (job: ReturnType<typeof start>) => { job.reporter.cancel(reason) }]) {
    const job = start()
    abort(job)
    t.same(job.reporter.ends, [['error', { message: reason.message, type: 'timeout_error' }]])
    t.equal(await job.chunks.next().catch((error: unknown) => error), reason)
  }
})

t.test('the first of two aborts counts', async (t) => {
  const job = start()
  job.reporter.cancel('by the client')
  job.caller.abort('by the caller')
  t.same(job.reporter.reports, [['error', { message: 'by the client', type: 'cancelled' }]])
  t.equal(await job.chunks.next().catch((error: unknown) => error), 'by the client')
})

t.test('an abort in the turn in which a chunk arrives ends the job as cancelled, and nothing follows', async (t) => {
  for (const answer of [
    (source: ReturnType<typeof start>['source']) => { source.give('a') },
    (source: ReturnType<typeof start>['source']) => { source.finish() },
    (source: ReturnType<typeof start>['source']) => { source.fail(new Error('too late')) }
  ]) {
    const { reporter, source, chunks } = start()
    const next = chunks.next()
    answer(source)
    reporter.cancel()
    await t.rejects(next, { name: 'AbortError' })
    await turn()
    t.match(reporter.reports, [['error', { type: 'cancelled' }]])
    t.equal(reporter.reports.length, 1)
  }
})

t.test('signals that are already aborted end the job at once, and nothing is read', async (t) => {
  const reporter = fakeReporter()
  reporter.cancel('by the client')
  const { source, seen } = waiting()
  const chunks = track(reporter, task, source, { signal: AbortSignal.abort('by the caller') }, new FakeClock())
  t.same(reporter.reports, [['error', { message: 'by the caller', type: 'cancelled' }]])
  t.equal(seen.closed, 1)
  t.equal(await chunks.next().catch((error: unknown) => error), 'by the caller')
})

t.test('an undefined reason becomes an AbortError', async (t) => {
  const job = start()
  job.caller.abort(null)
  t.match(job.reporter.ends, [['error', { type: 'cancelled' }]])
  await t.rejects(job.chunks.next(), { name: 'AbortError' })

  for (const reason of [7, '', new Error('')]) {
    const silent = start()
    silent.caller.abort(reason)
    t.same(silent.reporter.ends, [['error', { message: 'cancelled', type: 'cancelled' }]])
    t.equal(await silent.chunks.next().catch((error: unknown) => error), reason)
  }
})

t.test('a promised source that resolves after the abort is closed unread', async (t) => {
  const reporter = fakeReporter()
  const { source, seen } = waiting()
  let come: (there: AsyncIterable<string>) => void = () => undefined
  const chunks = track(reporter, task, new Promise<AsyncIterable<string>>((resolve) => { come = resolve }), {}, new FakeClock())
  const next = chunks.next()
  await turn()
  reporter.cancel()
  await t.rejects(next, { name: 'AbortError' })
  t.equal(seen.closed, 0)
  come(source)
  await turn()
  t.equal(seen.closed, 1)
  t.equal(reporter.ends.length, 1)
})

t.test('a promised source that rejects after the abort has no effect', async (t) => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => { process.off('unhandledRejection', note) })
  const reporter = fakeReporter()
  let refuse: (error: Error) => void = () => undefined
  track(reporter, task, new Promise<string[]>((_, reject) => { refuse = reject }), {}, new FakeClock())
  reporter.cancel()
  refuse(new Error('refused'))
  await turn()
  t.equal(reporter.ends.length, 1)
  t.same(unhandled, [])
})

t.test('a report that causes an abort ends the job once', async (t) => {
  const reporter = fakeReporter()
  const progress = reporter.progress.bind(reporter)
  reporter.progress = (each) => {
    progress(each)
    reporter.cancel()
  }
  const chunks = track(reporter, task, ['a', 'b'], {}, new FakeClock())
  await t.rejects(chunks.next(), { name: 'AbortError' })
  t.match(reporter.reports, [['progress', {}], ['error', { type: 'cancelled' }]])
})

t.test('no listener stays on the signals after the end', async (t) => {
  const { signal } = new AbortController()
  const chunks = track(fakeReporter(), task, ['a'], { signal }, new FakeClock())
  t.equal(getEventListeners(signal, 'abort').length, 1)
  for await (const chunk of chunks) t.equal(chunk, 'a')
  t.equal(getEventListeners(signal, 'abort').length, 0)
})
