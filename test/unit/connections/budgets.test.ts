import t from 'tap'
import { Budgets } from '../../../lib/connections/budgets.js'
import type { Connection } from '../../../lib/connections/connection.js'
import type { Authorize } from '../../../lib/connections/subscriptions.js'
import { FakeClock } from '../../support/fake-clock.js'
import { FakeTransport } from '../../support/fake-transport.js'
import { createServer, type Peer, type TestServer } from '../../support/server.js'
import type { Message } from '../../support/ws-client.js'

const TEXT = 'x'.repeat(100_000)

/** A server whose clients may be sent one text per second, and four at once. */
async function setUp (replayBytesPerSecond = TEXT.length): Promise<{ server: TestServer, peer: Peer }> {
  const server = createServer({ limits: { replayBytesPerSecond } })
  for (const sessionId of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) await server.manager.notifyAIProgress(sessionId, { delta: TEXT }, { jobId: 'j' })
  return { server, peer: await server.connect() }
}

const answersOf = (messages: readonly Message[]): unknown[] => messages.filter(({ type }) => type === 'subscribed').map(({ sessionId }): unknown => sessionId)

t.test('replays are limited: some are sent at once, and the rest in order over time', async (t) => {
  const { server, peer } = await setUp()
  for (const sessionId of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) peer.send({ type: 'subscribe', sessionId })
  t.same(answersOf(peer.take()), ['a', 'b', 'c', 'd'], 'the fourth starts while the balance is still positive')
  t.same(peer.ask({ type: 'ping' }).map(({ type }) => type), ['pong'], 'other messages don\'t wait')
  for (const sessionId of ['e', 'f', 'g']) {
    server.clock.advance(500)
    t.same(answersOf(peer.take()), [sessionId])
    server.clock.advance(500)
    t.same(answersOf(peer.take()), [])
  }
})

t.test('a client that missed nothing does not wait', async (t) => {
  const { peer } = await setUp(1)
  for (let i = 0; i < 50; i++) t.match(peer.ask({ type: 'subscribe', sessionId: `new ${i}` }), [{ type: 'subscribed' }])
})

t.test('a replay at connect counts, and the saved-up budget is bounded', async (t) => {
  const { server } = await setUp()
  const peer = await server.connect({ sessionId: 'a' })
  peer.take()
  server.clock.advance(3_600_000)
  for (const sessionId of ['b', 'c', 'd', 'e', 'f']) peer.send({ type: 'subscribe', sessionId })
  t.same(answersOf(peer.take()), ['b', 'c', 'd', 'e'])
})

t.test('a cancelled subscription costs nothing', async (t) => {
  const { server, peer } = await setUp()
  for (const sessionId of ['a', 'b', 'c', 'd', 'e', 'f']) peer.send({ type: 'subscribe', sessionId })
  peer.take()
  peer.send({ type: 'unsubscribe', sessionId: 'e' })
  peer.take()
  server.clock.advance(1_100)
  t.same(answersOf(peer.take()), ['f'])
})

t.test('a right that is revoked meanwhile is not used', async (t) => {
  const { server } = await setUp()
  const peer = await server.connect({ userId: 'u' })
  for (const sessionId of ['a', 'b', 'c', 'd', 'e']) peer.send({ type: 'subscribe', sessionId })
  peer.take()
  await server.manager.revoke('u', 'e')
  t.match(peer.take(), [{ type: 'unsubscribed', sessionId: 'e', reason: 'revoked' }])
  server.clock.advance(10_000)
  t.same(peer.take(), [])
})

t.test('a closed connection leaves no timer', async (t) => {
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

t.test('only the latest request for a session waits, and none after an unsubscribe', (t) => {
  const clock = new FakeClock()
  const budgets = new Budgets({ clock, perSecond: 1_000, atOnce: 4_000 })
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

t.test('a revocation stops a running replay', async (t) => {
  const server = createServer()
  await server.manager.notifyAIProgress('a', { delta: 'x'.repeat(900_000) }, { jobId: 'j' })
  const transport = new FakeTransport()
  transport.stalled = true
  const peer = await server.connect({ userId: 'u', sessionId: 'a', transport })
  const before = transport.texts.length
  t.ok(peer.connection.subscriber.outbox.isBehind)
  await server.manager.revoke('u')
  while (transport.bufferedBytes > 0) transport.drain()
  t.ok(transport.texts.length <= before + 1, `no more than was on its way: ${before}, then ${transport.texts.length}`)
  t.match(transport.closedWith, { code: 4502 })
})

/** A server whose connections may subscribe to four sessions at once, and then to ten per second. */
function setUpSubscribes (authorize: Authorize = true): TestServer {
  return createServer({ authorize, limits: { sessionsPerConnection: 2, subscribesPerSecond: 10 } })
}

/** Subscribes and unsubscribes until a further request has to wait. */
function exhaust (peer: Peer): void {
  for (let i = 0; i < 4; i++) {
    t.match(peer.ask({ type: 'subscribe', sessionId: `past ${i}` }), [{ type: 'subscribed' }])
    peer.ask({ type: 'unsubscribe', sessionId: `past ${i}` })
  }
}

t.test('subscriptions are limited: some start at once, and the rest in order over time', async (t) => {
  const asked: string[] = []
  const server = setUpSubscribes((_identity, { sessionId }) => {
    asked.push(sessionId)
    return true
  })
  const peer = await server.connect()
  exhaust(peer)
  asked.length = 0
  t.same(peer.ask({ type: 'subscribe', sessions: [{ sessionId: 'a' }, { sessionId: 'b' }] }), [])
  t.match(peer.ask({ type: 'subscribe', sessionId: 'c' }), [{ code: 'too_many_sessions', sessionId: 'c' }], 'a waiting subscription counts')
  t.same(peer.ask({ type: 'ping' }).map(({ type }) => type), ['pong'], 'other messages don\'t wait')
  t.same(asked, [], 'authorize is not called yet')
  for (const sessionId of ['a', 'b']) {
    server.clock.advance(50)
    t.same(answersOf(peer.take()), [sessionId])
    server.clock.advance(50)
    t.same(answersOf(peer.take()), [])
  }
  t.same(asked, ['a', 'b'])
})

t.test('an unsubscribe cancels a waiting request, and a later request waits again', async (t) => {
  const server = setUpSubscribes()
  const peer = await server.connect()
  exhaust(peer)
  peer.send({ type: 'subscribe', sessions: [{ sessionId: 'a' }, { sessionId: 'b' }] })
  t.match(peer.ask({ type: 'unsubscribe', sessions: ['a'] }), [{ type: 'unsubscribed', sessionId: 'a' }])
  peer.send({ type: 'subscribe', sessionId: 'a' })
  server.clock.advance(10_000)
  t.same(answersOf(peer.take()), ['b', 'a'])
  peer.leave()
  t.equal(server.clock.pending, 0)
})

t.test('a revocation of a waiting request is reported, and authorize is not called', async (t) => {
  const asked: string[] = []
  const server = setUpSubscribes((_identity, { sessionId }) => {
    asked.push(sessionId)
    return true
  })
  const peer = await server.connect({ userId: 'u' })
  exhaust(peer)
  peer.ask({ type: 'subscribe', sessionId: 'a' })
  await server.manager.revoke('u', 'a')
  t.match(peer.take(), [{ type: 'unsubscribed', sessionId: 'a', reason: 'revoked' }])
  server.clock.advance(10_000)
  t.same(peer.take(), [])
  t.notOk(asked.includes('a'))
})

t.test('a closing or closed connection leaves no request', async (t) => {
  for (const end of ['leave', 'close'] as const) {
    const asked: string[] = []
    const server = setUpSubscribes((_identity, { sessionId }) => {
      asked.push(sessionId)
      return true
    })
    const peer = await server.connect()
    exhaust(peer)
    peer.ask({ type: 'subscribe', sessionId: 'a' })
    if (end === 'leave') peer.leave()
    else server.connections.close(peer.connection, 'restart')
    server.clock.advance(1_000)
    t.same(asked.length, 4, end)
    server.clock.advance(10_000)
    t.equal(server.clock.pending, 0)
  }
})

t.test('several waiting requests for one session are each answered', async (t) => {
  const server = setUpSubscribes()
  const peer = await server.connect()
  exhaust(peer)
  for (let i = 0; i < 3; i++) peer.send({ type: 'subscribe', sessionId: 'a' })
  peer.send({ type: 'subscribe', sessionId: 'b' })
  server.clock.advance(10_000)
  t.same(answersOf(peer.take()), ['a', 'b', 'a', 'a'])
})

t.test('a page that scrolls through thousands of sessions stays connected, and authorize is called at a bounded rate', async (t) => {
  const asked = new Set<string>()
  const server = createServer({
    authorize: (_identity, { sessionId }) => {
      asked.add(sessionId)
      return true
    }
  })
  const peer = await server.connect()
  for (let screen = 0; screen < 100; screen++) {
    const row = (at: number): string => `${screen}.${at}`
    if (screen > 0) peer.send({ type: 'unsubscribe', sessions: Array.from({ length: 60 }, (_, at) => `${screen - 1}.${at}`) })
    peer.send({ type: 'subscribe', sessions: Array.from({ length: 60 }, (_, at) => ({ sessionId: row(at) })) })
    server.clock.advance(50)
  }
  // 5 seconds: 500 at once, and 100 a second.
  t.ok(asked.size > 900 && asked.size <= 1_001, `${asked.size} questions`)
  server.clock.advance(1_000)
  t.equal(peer.transport.closedWith, undefined)
  t.equal(peer.connection.sessionIds.length, 60)
  t.ok(peer.connection.sessionIds.every((id) => id.startsWith('99.')))
})

t.test('without a limit, no request waits', async (t) => {
  for (const limits of [{ subscribesPerSecond: Infinity }, { sessionsPerConnection: Infinity, subscribesPerSecond: 1 }]) {
    const server = createServer({ limits: { burst: Infinity, ...limits } })
    const peer = await server.connect()
    for (let i = 0; i < 10; i++) {
      peer.ask({ type: 'subscribe', sessions: Array.from({ length: 250 }, (_, at) => ({ sessionId: `${i}.${at}` })) })
      t.equal(peer.connection.sessionIds.length, 250)
      peer.ask({ type: 'unsubscribe' })
    }
  }
})

t.test('work that adds other work appends it to the queue', (t) => {
  const clock = new FakeClock()
  const budgets = new Budgets({ clock, perSecond: 10, atOnce: 100 })
  const connection = {} as Connection
  const began: string[] = []
  budgets.spend(connection, 100)
  const ask = (name: string, then?: string): void => {
    budgets.whenAllowed(connection, name, () => {
      began.push(name)
      if (then !== undefined) ask(then)
    })
  }
  ask('a', 'c')
  ask('b', 'd')
  clock.advance(200)
  t.same(began, ['a', 'b', 'c', 'd'])
  t.equal(clock.pending, 0)
  t.end()
})
