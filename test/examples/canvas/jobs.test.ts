import t from 'tap'
import { Jobs, type Slot } from '../../../examples/canvas/jobs.js'
import { deferred } from '../support/deferred.js'

/** Returns a job that ends on request, or when it is stopped. */
function job (): { run: (slot: Slot) => Promise<void>, end: () => void, slot: () => Slot } {
  const { promise, resolve } = deferred()
  let slot: Slot | undefined
  return {
    run: (given) => {
      slot = given
      given.signal.addEventListener('abort', () => { resolve() })
      return promise
    },
    end: () => { resolve() },
    slot: () => slot!
  }
}

t.test('a session has one job at a time', async (t) => {
  const jobs = new Jobs({ max: 10, maxDurationMs: 60_000 })
  const first = job()
  jobs.start('s', first.run)
  t.throws(() => { jobs.start('s', job().run) }, { code: 'CANVAS_ERR_SESSION_BUSY', statusCode: 409, message: /wait for its ai_complete or ai_error/ })
  jobs.start('other', job().run)
  first.slot().release()
  const second = job()
  jobs.start('s', second.run)
  first.end()
  await jobs.close()
  t.equal(second.slot().signal.aborted, true)
})

t.test('a job that ends late does not free the slot of the next one', async (t) => {
  const jobs = new Jobs({ max: 10, maxDurationMs: 60_000 })
  const first = job()
  jobs.start('s', first.run)
  first.slot().release()
  jobs.start('s', job().run)
  first.end()
  await new Promise(setImmediate)
  t.throws(() => { jobs.start('s', job().run) }, { code: 'CANVAS_ERR_SESSION_BUSY' })
  await jobs.close()
})

t.test('above the limit of jobs another one is refused until one ends', async (t) => {
  const jobs = new Jobs({ max: 2, maxDurationMs: 60_000 })
  const first = job()
  jobs.start('a', first.run)
  jobs.start('b', job().run)
  t.throws(() => { jobs.start('c', job().run) }, { code: 'CANVAS_ERR_TOO_MANY_JOBS', statusCode: 429, message: /^2 jobs are running/ })
  first.end()
  await new Promise(setImmediate)
  jobs.start('c', job().run)
  await jobs.close()
})

t.test('a job that exceeds its duration is stopped', async (t) => {
  const jobs = new Jobs({ max: 1, maxDurationMs: 5 })
  const slow = job()
  const stopped = deferred<unknown>()
  jobs.start('s', async (slot) => {
    slot.signal.addEventListener('abort', () => { stopped.resolve(slot.signal.reason) })
    await slow.run(slot)
  })
  t.match(await stopped.promise, { type: 'timeout_error', message: 'the job was stopped after 0.005 seconds: ask for less at a time' })
})

t.test('closing stops all jobs, waits for their reports, and accepts no more', async (t) => {
  const jobs = new Jobs({ max: 10, maxDurationMs: 60_000 })
  const last = deferred()
  let reason: unknown
  jobs.start('s', async ({ signal }) => {
    await new Promise((resolve) => { signal.addEventListener('abort', resolve) })
    reason = signal.reason
    await last.promise
  })
  let closed = false
  const closing = jobs.close().then(() => { closed = true })
  await new Promise(setImmediate)
  t.match(reason, { type: 'server_closing' })
  t.equal(closed, false)
  t.throws(() => { jobs.start('t', job().run) }, { code: 'CANVAS_ERR_CLOSING', statusCode: 503 })
  last.resolve()
  await closing
  t.equal(closed, true)
})
