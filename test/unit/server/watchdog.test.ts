import t from 'tap'
import { Watchdog } from '../../../lib/server/watchdog.js'
import { FakeClock } from '../../support/fake-clock.js'

function create (onStall: (id: string, watchdog: Watchdog) => void = () => undefined) {
  const clock = new FakeClock()
  const stalled: string[] = []
  const watchdog: Watchdog = new Watchdog({
    clock,
    stallAfterMs: 1_000,
    onStall: ({ sessionId, jobId }) => {
      stalled.push(`${sessionId}/${jobId}`)
      onStall(jobId, watchdog)
    }
  })
  return { clock, watchdog, stalled }
}

t.test('a job of which nothing is heard has stalled, once', async (t) => {
  const { clock, watchdog, stalled } = create()
  watchdog.heard('s', 'j')
  clock.advance(999)
  t.same(stalled, [])
  clock.advance(1)
  t.same(stalled, ['s/j'])
  clock.advance(10_000)
  t.same(stalled, ['s/j'])
  t.equal(clock.pending, 0)
})

t.test('each is watched for itself, with one timer for all', async (t) => {
  const { clock, watchdog, stalled } = create()
  watchdog.heard('s', 'a')
  clock.advance(400)
  watchdog.heard('s', 'b')
  watchdog.heard('x', 'a')
  t.equal(clock.pending, 1)
  clock.advance(400)
  watchdog.heard('s', 'a')
  clock.advance(600)
  t.same(stalled, ['s/b', 'x/a'])
  clock.advance(399)
  t.equal(stalled.length, 2)
  clock.advance(1)
  t.same(stalled, ['s/b', 'x/a', 's/a'])
})

t.test('one that ended is not watched any more', async (t) => {
  const { clock, watchdog, stalled } = create()
  watchdog.heard('s', 'j')
  watchdog.ended('s', 'j')
  watchdog.ended('s', 'never seen')
  clock.advance(5_000)
  t.same(stalled, [])
  t.equal(clock.pending, 0)
})

t.test('one that is heard of again while others are found to have stalled is watched on', async (t) => {
  const { clock, watchdog, stalled } = create((id, dog) => { if (id === 'a' && stalled.length === 1) dog.heard('s', 'a') })
  watchdog.heard('s', 'a')
  watchdog.heard('s', 'b')
  clock.advance(1_000)
  t.same(stalled, ['s/a', 's/b'])
  t.equal(clock.pending, 1)
  clock.advance(1_000)
  t.same(stalled, ['s/a', 's/b', 's/a'])
  t.equal(clock.pending, 0)
})

t.test('stopped, it tells which are left, and nothing stalls any more', async (t) => {
  const { clock, watchdog, stalled } = create()
  t.same(watchdog.stop(), [])
  watchdog.heard('s', 'a')
  watchdog.heard('s', 'b')
  watchdog.ended('s', 'a')
  t.match(watchdog.stop(), [{ sessionId: 's', jobId: 'b' }])
  t.same(watchdog.stop(), [])
  clock.advance(5_000)
  t.same(stalled, [])
})
