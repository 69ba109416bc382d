import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { defaults, type Limits } from '../../../lib/options.js'
import { ConnectionEstablished, type ConnectionLimits } from '../../../lib/protocol/messages.js'
import { connectionLimits } from '../../../lib/connections/replies.js'
import { createServer } from '../../support/server.js'

t.test('a client gets its limits', async (t) => {
  const told = async (limits: Partial<Limits>, maxPayload?: number): Promise<unknown> => {
    const server = createServer({ limits, ...(maxPayload !== undefined && { maxPayload }) })
    const handshake = server.arrive()
    await server.handshakes.accept(handshake, server.admitted())
    server.clock.tick()
    const greeting = JSON.parse(handshake.transport.texts[0]!) as { limits: unknown }
    t.ok(Value.Check(ConnectionEstablished, greeting))
    return greeting.limits
  }
  t.strictSame(await told({}), { sessions: 250, messagesPerSecond: 50, burst: 100, messageBytes: 65_536 })
  t.strictSame(await told({ sessionsPerConnection: 7, messagesPerSecond: 0.5, burst: 3 }, 1_000),
    { sessions: 7, messagesPerSecond: 0.5, burst: 3, messageBytes: 1_000 })
  t.strictSame(await told({ sessionsPerConnection: Infinity, messagesPerSecond: Infinity, burst: Infinity }, Infinity), {},
    'what is without a limit is left out')
})

t.test('the limit of a message\'s bytes is the one of ws', async (t) => {
  const told = (maxPayload: number | undefined): ConnectionLimits => connectionLimits(defaults.limits, maxPayload)
  for (const endless of [undefined, 0, 0.5, Infinity, 2 ** 31, 2 ** 32]) t.notOk('messageBytes' in told(endless), String(endless))
  t.equal(told(10.9).messageBytes, 10)
  t.equal(told(2 ** 31 - 1).messageBytes, 2 ** 31 - 1)
})

t.test('a fractional session limit is announced as the real number of sessions', async (t) => {
  const server = createServer({ limits: { sessionsPerConnection: 2.5 } })
  t.equal(connectionLimits({ ...defaults.limits, sessionsPerConnection: 2.5 }).sessions, 3)
  const peer = await server.connect()
  for (const sessionId of ['a', 'b', 'c']) peer.send({ type: 'subscribe', sessionId })
  t.equal(peer.connection.sessionIds.length, 3)
  t.match(peer.ask({ type: 'subscribe', sessions: ['a', 'b', 'c'].map((sessionId) => ({ sessionId })) }).at(-1), { type: 'subscribed' })
  t.match(peer.ask({ type: 'subscribe', sessionId: 'd' }).at(-1), { code: 'too_many_sessions' })
})
