import t from 'tap'
import type { Timer } from '../../../lib/util/clock.js'
import { FakeClock } from '../../support/fake-clock.js'
import { createServer } from '../../support/server.js'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** A clock whose timers are no longer than Node's. */
class NodeLikeClock extends FakeClock {
  override after (ms: number, callback: () => void): Timer {
    return super.after(Math.min(ms, 2 ** 31 - 1), callback)
  }
}

t.test('a connection is closed when its identity ends, and may come back with a fresh token', async (t) => {
  const server = createServer()
  const peer = await server.connect({ userId: 'u', expiresAt: server.clock.now() + HOUR_MS })
  server.clock.advance(HOUR_MS - 1)
  t.equal(peer.transport.closedWith, undefined)
  server.clock.advance(1)
  t.same(peer.transport.closedWith, { code: 4002, reason: 'Token expired' })
})

t.test('the end may be a Date', async (t) => {
  const server = createServer()
  const peer = await server.connect({ expiresAt: new Date(server.clock.now() + HOUR_MS) })
  server.clock.advance(HOUR_MS - 1)
  t.equal(peer.transport.closedWith, undefined)
  server.clock.advance(1)
  t.equal(peer.transport.closedWith?.code, 4002)
})

t.test('an identity that ended on its way in is not let in', async (t) => {
  const server = createServer()
  const handshake = server.arrive()
  t.equal(await server.handshakes.accept(handshake, server.admitted({ expiresAt: server.clock.now() })), 'tokenExpired')
  t.strictSame(handshake.transport.texts, [])
})

t.test('one without an end costs no timer', async (t) => {
  const server = createServer()
  await server.connect({ userId: 'u' })
  t.equal(server.clock.pending, 0)
})

t.test('a connection that closes takes its timer along', async (t) => {
  const server = createServer()
  const peer = await server.connect({ expiresAt: server.clock.now() + HOUR_MS })
  t.equal(server.clock.pending, 1)
  peer.leave()
  t.equal(server.clock.pending, 0)
})

t.test('a wall clock that is set back gives back the time', async (t) => {
  const server = createServer()
  const peer = await server.connect({ expiresAt: server.clock.now() + HOUR_MS })
  server.clock.jump(-HOUR_MS)
  server.clock.advance(HOUR_MS)
  t.equal(peer.transport.closedWith, undefined, 'its date has not come yet')
  server.clock.advance(HOUR_MS - 1)
  t.equal(peer.transport.closedWith, undefined)
  server.clock.advance(1)
  t.equal(peer.transport.closedWith?.code, 4002)
})

t.test('a wall clock that is set forward never makes it last longer', async (t) => {
  const server = createServer()
  const peer = await server.connect({ expiresAt: server.clock.now() + HOUR_MS })
  server.clock.jump(10 * HOUR_MS)
  server.clock.advance(HOUR_MS)
  t.equal(peer.transport.closedWith?.code, 4002)
})

t.test('an end that is further away than a timer reaches', async (t) => {
  const server = createServer({ clock: new NodeLikeClock() })
  const soon = await server.connect({ expiresAt: server.clock.now() + 60 * DAY_MS })
  const never = await server.connect({ expiresAt: Infinity })
  server.clock.advance(60 * DAY_MS - 1)
  t.equal(soon.transport.closedWith, undefined)
  server.clock.advance(1)
  t.equal(soon.transport.closedWith?.code, 4002)
  server.clock.advance(1_000 * DAY_MS)
  t.equal(never.transport.closedWith, undefined)
})
