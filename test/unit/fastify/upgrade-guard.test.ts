import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { UpgradeGuard } from '../../../lib/fastify/upgrade-guard.js'
import { FakeClock } from '../../support/fake-clock.js'

const LINGER_MS = 100

function create (): { clock: FakeClock, guard: UpgradeGuard, socket: () => Duplex } {
  const clock = new FakeClock()
  return {
    clock,
    guard: new UpgradeGuard({ clock, lingerMs: LINGER_MS }),
    socket: () => new Duplex({ read: () => { /* a peer that sends nothing */ }, write: (_chunk, _encoding, done) => { done() } })
  }
}

t.test('a socket that no handler takes over in time is destroyed', (t) => {
  const { clock, guard, socket } = create()
  const [orphan, taken, used, again] = [socket(), socket(), socket(), socket()]
  guard.watch(orphan, 1000)
  guard.watch(taken, 1000)
  guard.watch(used, 1000, () => true)
  guard.watch(again, 1000)
  guard.watch(again, 2000)
  t.equal(guard.size, 4)
  guard.release(taken)
  guard.release(taken)
  clock.advance(999)
  t.equal(orphan.destroyed, false)
  clock.advance(1)
  t.same([orphan, taken, used, again].map(({ destroyed }) => destroyed), [true, false, false, false])
  clock.advance(1000)
  t.equal(again.destroyed, true)
  t.same([guard.size, clock.pending], [0, 0])
  for (const left of [taken, used]) t.same([left.listenerCount('error'), left.listenerCount('close')], [0, 0])
  t.end()
})

t.test('a closed or failed socket is released, and its error is ignored', async (t) => {
  const { clock, guard, socket } = create()
  const [failing, gone] = [socket(), socket()]
  guard.watch(failing, 1000)
  failing.destroy(new Error('reset'))
  gone.destroy()
  guard.watch(gone, 1000)
  await turn()
  t.same([guard.size, clock.pending], [0, 0])
})

t.test('a socket with a plain response is ended, read, and destroyed if the client does not close it', (t) => {
  const { clock, guard, socket } = create()
  const [answered, taken] = [socket(), socket()]
  guard.watch(answered, 1000)
  guard.answered(answered)
  t.same([answered.writableEnded, answered.readableFlowing], [true, true])
  guard.answered(taken)
  t.equal(taken.writableEnded, false, 'a socket that it does not own is unchanged')
  clock.advance(LINGER_MS)
  t.equal(answered.destroyed, true)
  t.end()
})

t.test('close waits for sockets until the timeout, but not for those taken over', async (t) => {
  const { clock, guard, socket } = create()
  await guard.close(500)
  const [orphan, late, used] = [socket(), socket(), socket()]
  let isTaken = false
  guard.watch(used, 1000, () => true)
  guard.watch(orphan, 1000)
  guard.watch(late, 1000, () => isTaken)
  const closing = guard.close(500)
  t.equal(guard.size, 2)
  isTaken = true
  clock.advance(500)
  await closing
  t.same([orphan, late, used].map(({ destroyed }) => destroyed), [true, false, false])
  t.same([guard.size, clock.pending], [0, 0])

  guard.watch(late, 1000)
  const again = guard.close(500)
  guard.release(late)
  await again
  t.equal(clock.pending, 0)
})
