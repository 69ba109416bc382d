import t from 'tap'
import type { Connection } from '../../../lib/server/connection.js'
import { ReplayBudgets } from '../../../lib/server/replay-budgets.js'
import { FakeClock } from '../../support/fake-clock.js'
import { FakeTransport } from '../../support/fake-transport.js'
import { createServer, type Peer, type TestServer } from '../../support/server.js'
import type { Message } from '../../support/ws-client.js'

const TEXT = 'x'.repeat(100_000)

/** A server on which a session has a text, and whose clients may be sent one such text a second, and four at once. */
async function setUp (replayBytesPerSecond = TEXT.length): Promise<{ server: TestServer, peer: Peer }> {
  const server = createServer({ limits: { replayBytesPerSecond } })
  for (const sessionId of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) await server.manager.notifyAIProgress(sessionId, { delta: TEXT }, { jobId: 'j' })
  return { server, peer: await server.connect() }
}

const answersOf = (messages: readonly Message[]): unknown[] => messages.filter(({ type }) => type === 'subscribed').map(({ sessionId }): unknown => sessionId)

t.test('a client is sent so much of the past at once, and the rest in order as time passes', async (t) => {
  const { server, peer } = await setUp()
  for (const sessionId of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) peer.send({ type: 'subscribe', sessionId })
  t.same(answersOf(peer.take()), ['a', 'b', 'c', 'd'], 'what was left paid for the fourth, though not for all of it')
  t.same(peer.ask({ type: 'ping' }).map(({ type }) => type), ['pong'], 'nothing else waits')
  for (const sessionId of ['e', 'f', 'g']) {
    server.clock.advance(500)
    t.same(answersOf(peer.take()), [sessionId])
    server.clock.advance(500)
    t.same(answersOf(peer.take()), [])
  }
})

t.test('a client that misses nothing waits for nothing', async (t) => {
  const { peer } = await setUp(1)
  for (let i = 0; i < 50; i++) t.match(peer.ask({ type: 'subscribe', sessionId: `new ${i}` }), [{ type: 'subscribed' }])
})

t.test('what it is sent with its connection counts, and what its unused share of time saved up is bounded', async (t) => {
  const { server } = await setUp()
  const peer = await server.connect({ sessionId: 'a' })
  peer.take()
  server.clock.advance(3_600_000)
  for (const sessionId of ['b', 'c', 'd', 'e', 'f']) peer.send({ type: 'subscribe', sessionId })
  t.same(answersOf(peer.take()), ['b', 'c', 'd', 'e'])
})

t.test('one that was given up meanwhile costs nothing', async (t) => {
  const { server, peer } = await setUp()
  for (const sessionId of ['a', 'b', 'c', 'd', 'e', 'f']) peer.send({ type: 'subscribe', sessionId })
  peer.take()
  peer.send({ type: 'unsubscribe', sessionId: 'e' })
  peer.take()
  server.clock.advance(1_100)
  t.same(answersOf(peer.take()), ['f'])
})

t.test('a right that is taken back meanwhile is not used', async (t) => {
  const { server } = await setUp()
  const peer = await server.connect({ userId: 'u' })
  for (const sessionId of ['a', 'b', 'c', 'd', 'e']) peer.send({ type: 'subscribe', sessionId })
  peer.take()
  await server.manager.revoke('u', 'e')
  t.match(peer.take(), [{ type: 'unsubscribed', sessionId: 'e', reason: 'revoked' }])
  server.clock.advance(10_000)
  t.same(peer.take(), [])
})

t.test('a connection that ends leaves no timer', async (t) => {
  const { server, peer } = await setUp()
  for (const sessionId of ['a', 'b', 'c', 'd', 'e']) peer.send({ type: 'subscribe', sessionId })
  peer.take()
  const { pending } = server.clock
  peer.leave()
  t.equal(server.clock.pending, pending - 1)
})

t.test('Infinity means no limit', async (t) => {
  const { peer } = await setUp(Infinity)
  for (const sessionId of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) peer.send({ type: 'subscribe', sessionId })
  t.equal(answersOf(peer.take()).length, 7)
})

t.test('of the requests for one session only the latest waits, and none once it was left', (t) => {
  const clock = new FakeClock()
  const budgets = new ReplayBudgets({ clock, bytesPerSecond: 1_000 })
  const connection = {} as Connection
  const began: string[] = []
  const ask = (sessionId: string, name: string): void => { budgets.whenAllowed(connection, sessionId, () => { began.push(name) }) }
  budgets.forget(connection, 'a')
  budgets.spend(connection, 5_000)
  for (const name of ['a 1', 'a 2', 'a 3']) ask('a', name)
  ask('b', 'b')
  ask('c', 'c')
  budgets.forget(connection, 'b')
  clock.advance(2_000)
  t.same(began, ['a 3', 'c'])
  t.end()
})

t.test('a user whose right is taken back is sent nothing more of the past', async (t) => {
  const server = createServer()
  await server.manager.notifyAIProgress('a', { delta: 'x'.repeat(900_000) }, { jobId: 'j' })
  const transport = new FakeTransport()
  transport.stalled = true
  const peer = await server.connect({ userId: 'u', sessionId: 'a', transport })
  const before = transport.texts.length
  t.ok(peer.connection.follower.outbox.behind)
  await server.manager.revoke('u')
  while (transport.bufferedBytes > 0) transport.drain()
  t.ok(transport.texts.length <= before + 1, `no more than was on its way: ${before}, then ${transport.texts.length}`)
  t.match(transport.closedWith, { code: 4502 })
})
