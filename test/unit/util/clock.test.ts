import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { isoTimestamps, systemClock } from '../../../lib/util/clock.js'
import { FakeClock } from '../../support/fake-clock.js'

t.test('the system clock', (t) => {
  t.test('returns the wall-clock time and a monotonic time', (t) => {
    const before = Date.now()
    const first = systemClock.monotonic()
    t.ok(systemClock.now() >= before && systemClock.now() <= Date.now())
    t.ok(systemClock.monotonic() >= first)
    t.end()
  })

  t.test('calls back after the delay', async (t) => {
    // The timer under test keeps nothing alive.
    const alive = setTimeout(() => undefined, 60_000)
    t.teardown(() => { clearTimeout(alive) })
    const from = systemClock.monotonic()
    await new Promise<void>((resolve) => { systemClock.after(5, resolve) })
    // Node's timers use whole milliseconds of a clock that is read once per turn.
    t.ok(systemClock.monotonic() - from >= 4)
  })

  t.test('does not fire a cancelled timer, and allows cancelling it again', async (t) => {
    const timer = systemClock.after(1, () => { t.fail('fired though cancelled') })
    timer.cancel()
    timer.cancel()
    await new Promise((resolve) => { setTimeout(resolve, 2) })
  })

  t.test('sets timers that do not keep the process alive, with a delay that Node supports', (t) => {
    const timeouts = t.capture(globalThis, 'setTimeout', globalThis.setTimeout)
    const short = systemClock.after(60_000, () => undefined)
    const long = systemClock.after(2 ** 40, () => undefined)
    const calls = timeouts()
    short.cancel()
    long.cancel()
    t.strictSame(calls.map(({ args }) => args[1]), [60_000, 2 ** 31 - 1])
    t.strictSame(calls.map((call) => 'returned' in call && call.returned.hasRef()), [false, false])
    t.end()
  })

  t.test('defers a callback to the end of the turn, after everything that is due in it', async (t) => {
    const order: string[] = []
    await new Promise<void>((resolve) => {
      systemClock.endOfTick(() => {
        order.push('end of tick')
        resolve()
      })
      process.nextTick(() => { order.push('next tick') })
      queueMicrotask(() => { order.push('microtask') })
      order.push('now')
    })
    t.equal(order[0], 'now')
    t.equal(order[3], 'end of tick')
  })

  t.test('calls back outside of all async contexts, in whichever one the timer was set', async (t) => {
    // The timer under test keeps nothing alive.
    const alive = setTimeout(() => undefined, 60_000)
    t.teardown(() => { clearTimeout(alive) })
    const storage = new AsyncLocalStorage<string>()
    const seen = await storage.run('a request', () => Promise.all([
      new Promise((resolve) => { systemClock.after(1, () => { resolve(storage.getStore()) }) }),
      new Promise((resolve) => { systemClock.endOfTick(() => { resolve(storage.getStore()) }) })
    ]))
    t.strictSame(seen, [undefined, undefined])
  })
  t.end()
})

t.test('timestamps', (t) => {
  t.test('are ISO 8601, and follow the wall clock forwards and backwards', (t) => {
    const clock = new FakeClock()
    const timestamp = isoTimestamps(clock)
    t.equal(timestamp(), '2023-11-14T22:13:20.000Z')
    clock.advance(1)
    t.equal(timestamp(), '2023-11-14T22:13:20.001Z')
    clock.jump(-2)
    t.equal(timestamp(), '2023-11-14T22:13:19.999Z')
    t.end()
  })

  t.test('are formatted once per millisecond', (t) => {
    const clock = new FakeClock()
    const timestamp = isoTimestamps(clock)
    // eslint-disable-next-line @typescript-eslint/unbound-method
    const formatted = t.capture(Date.prototype, 'toISOString', Date.prototype.toISOString)
    t.equal(timestamp(), timestamp())
    t.equal(formatted().length, 1)
    clock.advance(1)
    timestamp()
    t.equal(formatted().length, 1)
    t.end()
  })
  t.end()
})
