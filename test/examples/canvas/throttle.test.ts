import { mock } from 'node:test'
import t from 'tap'
import { throttle } from '../../../examples/canvas/throttle.js'

t.beforeEach(() => { mock.timers.enable({ apis: ['setTimeout'] }) })
t.afterEach(() => { mock.timers.reset() })

t.test('the first goes at once, then the newest of each interval', async (t) => {
  const sent: number[] = []
  const progress = throttle((value: number) => sent.push(value), 100)
  progress.report(1)
  t.same(sent, [1])
  progress.report(2)
  progress.report(3)
  mock.timers.tick(99)
  t.same(sent, [1])
  mock.timers.tick(1)
  t.same(sent, [1, 3], 'also when nothing more comes')
  progress.report(4)
  t.same(sent, [1, 3])
  mock.timers.tick(100)
  t.same(sent, [1, 3, 4])
  mock.timers.tick(100)
  progress.report(5)
  t.same(sent, [1, 3, 4, 5], 'at once again after a quiet interval')
})

t.test('a flush sends what is held back, once, and leaves no timer', async (t) => {
  const sent: number[] = []
  const progress = throttle((value: number) => sent.push(value), 100)
  progress.flush()
  t.same(sent, [])
  progress.report(1)
  progress.flush()
  t.same(sent, [1], 'what was sent already is not sent again')
  progress.report(2)
  progress.report(3)
  progress.flush()
  t.same(sent, [1, 2, 3])
  mock.timers.tick(1000)
  t.same(sent, [1, 2, 3])
})
