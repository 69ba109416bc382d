import t from 'tap'
import { RateLimit } from '../../../lib/connections/rate-limit.js'
import { createServer } from '../../support/server.js'

const settings = { messagesPerSecond: 10, burst: 5, sessionsPerConnection: 3 }

/** Number of messages that pass now. */
function passing (limit: RateLimit, now: number): number {
  let passed = 0
  while (passed < 1000 && limit.take(now)) passed++
  return passed
}

t.test('a burst passes at once, then messagesPerSecond', async (t) => {
  const limit = new RateLimit(settings, 0)
  t.equal(passing(limit, 0), 5)
  t.equal(passing(limit, 99), 0)
  t.equal(passing(limit, 100), 1)
  t.equal(passing(limit, 400), 3)
})

t.test('a long silence saves up at most a burst', async (t) => {
  const limit = new RateLimit(settings, 0)
  passing(limit, 0)
  t.equal(passing(limit, 3_600_000), 5)
})

t.test('the first sessionsPerConnection subscribes are free', async (t) => {
  const limit = new RateLimit(settings, 0)
  for (let i = 0; i < 4; i++) {
    t.ok(limit.take(0))
    limit.refundSubscribe()
  }
  t.equal(passing(limit, 0), 4, 'the fourth was counted')
})

t.test('a fractional limit gives a finite number of free subscribes', async (t) => {
  const limit = new RateLimit({ ...settings, sessionsPerConnection: 2.5 }, 0)
  for (let i = 0; i < 4; i++) {
    t.ok(limit.take(0))
    limit.refundSubscribe()
  }
  t.equal(passing(limit, 0), 3)
})

t.test('Infinity means no limit', async (t) => {
  t.equal(passing(new RateLimit({ ...settings, messagesPerSecond: Infinity }, 0), 0), 1000)
  t.equal(passing(new RateLimit({ ...settings, burst: Infinity }, 0), 0), 1000)
})

t.test('a client can resubscribe to all sessions after a reconnect, and still has its burst', async (t) => {
  const server = createServer({ limits: { sessionsPerConnection: 100, burst: 10, messagesPerSecond: 1 } })
  const peer = await server.connect()
  for (let i = 0; i < 100; i++) t.match(peer.ask({ type: 'subscribe', sessionId: `s${i}` }), [{ type: 'subscribed' }])
  for (let i = 0; i < 10; i++) t.match(peer.ask({ type: 'ping' }), [{ type: 'pong' }])
  t.equal(peer.transport.closedWith, undefined)
  peer.send({ type: 'ping' })
  t.equal(peer.transport.closedWith?.code, 4001)
})

t.test('thousands of subscribes exceed the limit', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  for (let i = 0; i < 5_000; i++) peer.send({ type: 'subscribe', sessionId: `s${i}` })
  const answers = peer.take()
  t.equal(answers.filter(({ type }) => type === 'subscribed').length, 250)
  t.equal(answers.filter(({ code }) => code === 'too_many_sessions').length, 100)
  t.match(answers.at(-1), { type: 'error', code: 'rate_limited' })
  t.equal(answers.length, 351)
  t.same(peer.transport.closedWith, { code: 4001, reason: 'Rate limit exceeded' })
})

t.test('ping frames count too', async (t) => {
  const server = createServer({ limits: { burst: 10 } })
  const peer = await server.connect()
  for (let i = 0; i < 10; i++) server.inbound.unsolicited(peer.connection)
  t.strictSame(peer.take(), [])
  for (let i = 0; i < 10; i++) server.inbound.unsolicited(peer.connection)
  t.match(peer.take(), [{ type: 'error', code: 'rate_limited' }])
  t.equal(peer.transport.closedWith?.code, 4001)
  t.strictSame(server.counters.closes, { rateLimited: 1 }, 'counted once')
  t.strictSame(server.counters.errors, { rate_limited: 1 })
})

t.test('unsolicited pongs count too, and answers to pings are free', async (t) => {
  const server = createServer({ limits: { burst: 10 } })
  const peer = await server.connect()
  const pong = (): void => {
    if (!server.heartbeat.pong(peer.connection, Buffer.from('any'))) server.inbound.unsolicited(peer.connection)
  }
  for (let i = 0; i < 100; i++) {
    peer.connection.subscriber.outbox.ping(Buffer.from('any'))
    pong()
  }
  for (let i = 0; i < 10; i++) pong()
  t.equal(peer.transport.closedWith, undefined)
  pong()
  t.equal(peer.transport.closedWith?.code, 4001)
})
