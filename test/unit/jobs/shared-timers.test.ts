import t from 'tap'
import { SharedTimers } from '../../../lib/jobs/shared-timers.js'
import { FakeClock } from '../../support/fake-clock.js'

function start () {
  const clock = new FakeClock()
  const called: string[] = []
  return { clock, timers: new SharedTimers(clock), called, call: (name: string) => () => { called.push(`${name} at ${clock.monotonic()}`) } }
}

t.test('callbacks for the same time run together, in order, with one timer', (t) => {
  const { clock, timers, called, call } = start()
  timers.at(20, call('a'))
  timers.at(20, call('b'))
  timers.at(30, call('c'))
  t.equal(clock.pending, 2)
  clock.advance(19)
  t.same(called, [])
  clock.advance(1)
  t.same(called, ['a at 20', 'b at 20'])
  clock.advance(10)
  t.same(called.slice(2), ['c at 30'])
  t.equal(clock.pending, 0)
  t.end()
})

t.test('a cancelled callback does not run, and the last one cancels the timer', (t) => {
  const { clock, timers, called, call } = start()
  const [a, b] = ['a', 'b'].map((name) => timers.at(20, call(name)))
  a!.cancel()
  t.equal(clock.pending, 1)
  b!.cancel()
  t.equal(clock.pending, 0)
  timers.at(20, call('c'))
  b!.cancel()
  clock.advance(20)
  t.same(called, ['c at 20'], 'cancelling twice does not affect a later one')
  t.end()
})

t.test('a callback may cancel another one and add a new one', (t) => {
  const { clock, timers, called, call } = start()
  timers.at(20, () => {
    second.cancel()
    timers.at(20, call('again'))
  })
  const second = timers.at(20, call('second'))
  clock.advance(20)
  t.same(called, ['again at 20'])
  t.equal(clock.pending, 0)
  t.end()
})

t.test('two tasks that start at different times soon share their times', (t) => {
  const { clock, timers } = start()
  clock.advance(3)
  const first = timers.next(-Infinity, 100)
  clock.advance(4)
  t.equal(timers.next(-Infinity, 100), first)
  t.equal(first, 110)
  t.end()
})

t.test('a small delay does not shift the following times, and a large one does', (t) => {
  const { clock, timers } = start()
  clock.advance(109)
  t.equal(timers.next(100, 100), 200)
  clock.advance(2)
  t.equal(timers.next(100, 100), 220)
  t.end()
})

t.test('shared times are closer together for shorter intervals, and any time is one for interval 0', (t) => {
  const { clock, timers } = start()
  clock.advance(7)
  t.equal(timers.next(-Infinity, 25), 32.5)
  t.equal(timers.next(-Infinity, 5_000), 5_010)
  t.equal(timers.next(-Infinity, 0), 7)
  t.equal(timers.next(-Infinity, Infinity), Infinity)
  t.end()
})

t.test('floating-point errors don\'t add up', (t) => {
  const { clock, timers } = start()
  let due = timers.next(-Infinity, 33)
  const first = due
  for (let i = 1; i <= 10_000; i++) {
    clock.advance(due - clock.monotonic())
    due = timers.next(due, 33)
  }
  t.ok(Math.abs(due - first - 10_000 * 33) < 1, String(due - first))
  t.end()
})
