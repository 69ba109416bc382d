import t from 'tap'
import { TIMED_OUT, withDeadline } from '../../../lib/util/deadline.js'
import { FakeClock } from '../../support/fake-clock.js'

t.test('work that ends in time resolves with its result, and cancels the timer', async (t) => {
  const clock = new FakeClock()
  const answer = withDeadline(clock, 100, Promise.resolve('done'))
  t.equal(clock.pending, 1)
  t.equal(await answer, 'done')
  t.equal(clock.pending, 0)
})

t.test('work that fails in time rejects, and cancels the timer', async (t) => {
  const clock = new FakeClock()
  await t.rejects(withDeadline(clock, 100, Promise.reject(new Error('broken'))), { message: 'broken' })
  t.equal(clock.pending, 0)
})

t.test('work can be any thenable', async (t) => {
  const thenable: PromiseLike<string> = { then: (done, failed) => Promise.resolve('done').then(done, failed) }
  t.equal(await withDeadline(new FakeClock(), 100, thenable), 'done')
})

t.test('work that takes too long resolves with TIMED_OUT', async (t) => {
  const clock = new FakeClock()
  const answer = withDeadline(clock, 100, new Promise(() => undefined))
  clock.advance(99)
  t.equal(clock.pending, 1)
  clock.advance(1)
  t.equal(await answer, TIMED_OUT)
})

t.test('an abort cancels the timer, and a later result still resolves', async (t) => {
  const clock = new FakeClock()
  const gone = new AbortController()
  let finish: (value: string) => void = () => undefined
  const answer = withDeadline(clock, 100, new Promise<string>((resolve) => { finish = resolve }), gone.signal)
  gone.abort()
  t.equal(clock.pending, 0)
  clock.advance(100)
  finish('done')
  t.equal(await answer, 'done')
})

t.test('a result or rejection after the deadline is ignored', async (t) => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => { process.off('unhandledRejection', note) })

  const clock = new FakeClock()
  let fail: (error: Error) => void = () => undefined
  const answer = withDeadline(clock, 100, new Promise((_resolve, reject) => { fail = reject }))
  clock.advance(100)
  t.equal(await answer, TIMED_OUT)
  fail(new Error('late'))
  await new Promise((resolve) => { setImmediate(resolve) })
  t.strictSame(unhandled, [])
})
