import t from 'tap'
import type { Timer } from '../../../lib/util/clock.js'
import { FakeClock } from '../../support/fake-clock.js'
import { createServer } from '../../support/server.js'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** A clock with the maximum delay of Node's timers. */
class NodeLikeClock extends FakeClock {
  override after (ms: number, callback: () => void): Timer {
    return super.after(Math.min(ms, 2 ** 31 - 1), callback)
  }
}

t.test('a connection is closed when its identity expires, and may reconnect with a fresh token', async (t) => {
  const server = createServer()
  const peer = await server.connect({ userId: 'u', expiresAt: server.clock.now() + HOUR_MS })
  server.clock.advance(HOUR_MS - 1)
  t.equal(peer.transport.closedWith, undefined)
  server.clock.advance(1)
  t.same(peer.transport.closedWith, { code: 4002, reason: 'Token expired' })
})

t.test('expiresAt may be a Date', async (t) => {
  const server = createServer()
  const peer = await server.connect({ expiresAt: new Date(server.clock.now() + HOUR_MS) })
  server.clock.advance(HOUR_MS - 1)
  t.equal(peer.transport.closedWith, undefined)
  server.clock.advance(1)
  t.equal(peer.transport.closedWith?.code, 4002)
})

t.test('an identity that expires during the handshake is refused', async (t) => {
  const server = createServer()
  const handshake = server.arrive()
  t.equal(await server.handshakes.accept(handshake, server.admitted({ expiresAt: server.clock.now() })), 'tokenExpired')
  t.strictSame(handshake.transport.texts, [])
})

t.test('an identity without expiry needs no timer', async (t) => {
  const server = createServer()
  await server.connect({ userId: 'u' })
  t.equal(server.clock.pending, 0)
})

t.test('a closed connection leaves no expiry timer', async (t) => {
  const server = createServer()
  const peer = await server.connect({ expiresAt: server.clock.now() + HOUR_MS })
  t.equal(server.clock.pending, 1)
  peer.leave()
  t.equal(server.clock.pending, 0)
})

t.test('setting the wall clock back delays the close', async (t) => {
  const server = createServer()
  const peer = await server.connect({ expiresAt: server.clock.now() + HOUR_MS })
  server.clock.jump(-HOUR_MS)
  server.clock.advance(HOUR_MS)
  t.equal(peer.transport.closedWith, undefined, 'its expiry has not come yet')
  server.clock.advance(HOUR_MS - 1)
  t.equal(peer.transport.closedWith, undefined)
  server.clock.advance(1)
  t.equal(peer.transport.closedWith?.code, 4002)
})

t.test('setting the wall clock forward never delays the close', async (t) => {
  const server = createServer()
  const peer = await server.connect({ expiresAt: server.clock.now() + HOUR_MS })
  server.clock.jump(10 * HOUR_MS)
  server.clock.advance(HOUR_MS)
  t.equal(peer.transport.closedWith?.code, 4002)
})

t.test('an expiry beyond the maximum delay of a timer', async (t) => {
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
