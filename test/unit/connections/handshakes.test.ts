import t from 'tap'
import { createFarServer, createServer, type Peer } from '../../support/server.js'
import { FakeTransport } from '../../support/fake-transport.js'
import { turn } from '../../support/hand-broker.js'
import type { Message } from '../../support/ws-client.js'

const texts = (transport: FakeTransport): Message[] => transport.texts.map((text) => JSON.parse(text) as Message)

t.test('the first message is `connection`, whatever happens', async (t) => {
  const server = createServer()
  const handshake = server.arrive()
  void server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's' }))
  void server.manager.notifyAIStart('s', {})
  void server.manager.broadcastToUser('u', { type: 'note' })
  void server.manager.broadcast({ type: 'news' })
  server.clock.tick()
  const [first, ...rest] = texts(handshake.transport)
  t.match(first, { type: 'connection', status: 'connected', clientId: /^client_/, sessionId: 's', seq: 0, user: { seq: 0 } })
  t.match(rest, [{ type: 'ai_start', seq: 1 }, { type: 'note', userSeq: 1 }, { type: 'news' }])
})

t.test('a client without a user or a session gets broadcasts', async (t) => {
  const server = createServer()
  const handshake = server.arrive()
  await server.handshakes.accept(handshake, server.admitted())
  void server.manager.broadcast({ type: 'news' })
  server.clock.tick()
  const [first, news] = texts(handshake.transport)
  t.strictSame(Object.keys(first!), ['type', 'status', 'clientId', 'timestamp', 'limits'])
  t.match(news, { type: 'news' })
})

t.test('a refused session is reported after `connection`', async (t) => {
  for (const permission of ['forbidden', 'unavailable'] as const) {
    const server = createServer()
    const handshake = server.arrive()
    await server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's', permission }))
    server.clock.tick()
    const [first, second] = texts(handshake.transport)
    t.match(first, { type: 'connection' })
    t.notOk('sessionId' in first!, 'it is not subscribed to the session')
    t.match(second, { type: 'error', code: permission, sessionId: 's' })
    t.equal(server.hub.count('session:s'), 0)
    t.equal(server.connections.size, 1, 'but it is connected')
  }
})

t.test('a handshake that disconnects', async (t) => {
  t.test('before it is identified', async (t) => {
    const server = createServer()
    const handshake = server.arrive()
    server.handshakes.end(handshake)
    t.equal(await server.handshakes.accept(handshake, server.admitted({ userId: 'u' })), 'goingAway')
    server.handshakes.refuse(handshake, 'goingAway')
    t.equal(handshake.transport.closedWith, undefined, 'no close frame is sent')
    t.equal(server.hub.count('user:u'), 0)
    t.equal(server.connections.size, 0)
    t.strictSame(server.counters.closes, {})
  })

  t.test('while the join is in flight', async (t) => {
    const server = createFarServer()
    const handshake = server.arrive()
    const accepted = server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's' }))
    t.equal(server.hub.count('session:s'), 1)
    server.handshakes.end(handshake)
    server.broker.answer()
    t.type(await accepted, 'string')
    for (const stream of ['all', 'user:u', 'session:s'] as const) t.equal(server.hub.count(stream), 0, stream)
    t.equal(server.connections.size, 0)
    t.strictSame(texts(handshake.transport), [])
  })

  t.test('while it is being refused', async (t) => {
    const server = createServer()
    const handshake = server.arrive()
    server.handshakes.refuse(handshake, 'unauthorized')
    t.equal(server.clock.pending, 1)
    server.handshakes.end(handshake)
    t.equal(server.clock.pending, 0)
  })
})

t.test('a refused handshake', async (t) => {
  t.test('gets one close frame with the reason', async (t) => {
    const server = createServer()
    const handshake = server.arrive()
    server.handshakes.refuse(handshake, 'badRequest', 'sessionId is given more than once')
    server.handshakes.refuse(handshake, 'serverError')
    t.same(handshake.transport.closedWith, { code: 4500, reason: 'Bad request: sessionId is given more than once' })
    t.strictSame(server.counters.closes, { badRequest: 1 })
    t.equal(await server.handshakes.accept(handshake, server.admitted()), 'goingAway', 'and can\'t be accepted any more')
    t.match(server.log.entries, [{ level: 'info', message: 'client refused', fields: { code: 4500, detail: /once/ } }])
  })

  t.test('gets the plain close reason without a detail', async (t) => {
    const server = createServer()
    const handshake = server.arrive()
    server.handshakes.refuse(handshake, 'unauthorized')
    t.same(handshake.transport.closedWith, { code: 1008, reason: 'Unauthorized' })
  })

  t.test('is terminated if it does not answer the close frame', async (t) => {
    const server = createServer({ closeTimeoutMs: 2_000 })
    const handshake = server.arrive()
    server.handshakes.refuse(handshake, 'unauthorized')
    server.clock.advance(1_999)
    t.equal(handshake.transport.terminated, false)
    server.clock.advance(1)
    t.equal(handshake.transport.terminated, true)
  })
})

t.test('a broker that can\'t join', async (t) => {
  t.test('rejects, and no state is left', async (t) => {
    const server = createFarServer()
    const handshake = server.arrive()
    const accepted = server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's' }))
    server.broker.answer('join user:u')
    server.broker.fail('join session:s')
    await t.rejects(Promise.resolve(accepted), { message: 'the broker is away' })
    for (const stream of ['all', 'user:u', 'session:s'] as const) t.equal(server.hub.count(stream), 0, stream)
    server.handshakes.refuse(handshake, 'serverError')
    t.equal(handshake.transport.closedWith?.code, 1011)
    t.equal(server.connections.size, 0)
  })

  t.test('or throws at once', async (t) => {
    const server = createServer()
    t.capture(server.broker, 'join', () => { throw new Error('closed') })
    const handshake = server.arrive()
    t.throws(() => server.handshakes.accept(handshake, server.admitted({ sessionId: 's' })), { message: 'closed' })
    t.equal(server.hub.count('session:s'), 0)
  })
})

t.test('limits', async (t) => {
  t.test('of all connections, including pending handshakes', async (t) => {
    const server = createServer({ limits: { connections: 2 } })
    const first: Peer = await server.connect()
    const second = server.arrive()
    const third = server.arrive()
    t.equal(second.transport.closedWith, undefined)
    t.same(third.transport.closedWith, { code: 1013, reason: 'Try again later' })
    server.handshakes.end(third)
    first.leave()
    t.equal(server.arrive().transport.closedWith, undefined, 'a disconnect makes room')
    t.equal(server.arrive().transport.closedWith?.code, 1013)
    t.strictSame(server.counters.closes, { overCapacity: 2 })
  })

  t.test('of one user\'s connections', async (t) => {
    const server = createServer({ limits: { connectionsPerUser: 2 } })
    const first = await server.connect({ userId: 'u' })
    await server.connect({ userId: 'u' })
    t.equal(await server.handshakes.accept(server.arrive(), server.admitted({ userId: 'u' })), 'overCapacity')
    await server.connect({ userId: 'v' })
    await server.connect()
    server.connections.close(first.connection, 'restart')
    await server.connect({ userId: 'u' })
    t.pass('who is leaving makes room')
  })

  t.test('of one user\'s connections, including joins in flight', async (t) => {
    const server = createFarServer({ limits: { connectionsPerUser: 1 } })
    void server.handshakes.accept(server.arrive(), server.admitted({ userId: 'u' }))
    t.equal(await server.handshakes.accept(server.arrive(), server.admitted({ userId: 'u' })), 'overCapacity')
  })
})

t.test('a revocation', async (t) => {
  t.test('of the user applies to a handshake during authenticate', async (t) => {
    const server = createServer()
    const handshake = server.arrive()
    await server.manager.revoke('u')
    t.equal(await server.handshakes.accept(handshake, server.admitted({ userId: 'u' })), 'revoked')
    t.equal(server.hub.count('user:u'), 0)
  })

  t.test('of the user applies to a handshake whose join is in flight', async (t) => {
    const server = createFarServer()
    const handshake = server.arrive()
    const accepted = server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's' }))
    void server.manager.revoke('u')
    server.broker.answer('revoke')
    server.broker.answer()
    t.equal(await accepted, 'revoked')
    t.equal(server.hub.count('session:s'), 0)
    t.strictSame(texts(handshake.transport), [])
  })

  t.test('of a session applies to a handshake during authenticate', async (t) => {
    const server = createServer()
    const handshake = server.arrive()
    await server.manager.revoke('u', 's')
    await server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's' }))
    server.clock.tick()
    t.match(texts(handshake.transport), [{ type: 'connection' }, { type: 'error', code: 'forbidden', sessionId: 's' }])
    t.equal(server.hub.count('session:s'), 0)
  })

  t.test('of a session applies to a handshake whose join is in flight', async (t) => {
    const server = createFarServer()
    const handshake = server.arrive()
    const accepted = server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's' }))
    void server.manager.revoke('u', 's')
    server.broker.answer('revoke')
    server.broker.answer()
    await accepted
    server.clock.tick()
    t.match(texts(handshake.transport), [{ type: 'connection' }, { type: 'error', code: 'forbidden', sessionId: 's' }])
    t.equal(server.hub.count('session:s'), 0)
  })

  t.test('of a session during its join is reported', async (t) => {
    const server = createFarServer()
    const handshake = server.arrive()
    const accepted = server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's' }))
    const greet = server.replies.connection.bind(server.replies)
    t.capture(server.replies, 'connection', (...args: Parameters<typeof greet>) => {
      // After the hub has handled the broker's answers, and before the handshake continues.
      queueMicrotask(() => { server.broker.answer('revoke') })
      return greet(...args)
    })
    void server.manager.revoke('u', 's')
    for (const stream of ['user:u', 'session:s']) server.broker.answer(`join ${stream}`)
    const connection = await accepted
    server.clock.tick()
    t.match(texts(handshake.transport), [
      { type: 'connection', sessionId: 's' }, { type: 'unsubscribed', sessionId: 's', reason: 'revoked' }
    ])
    t.equal(texts(handshake.transport).length, 2)
    t.type(connection, 'object')
    t.strictSame([...server.connections.values()].map(({ sessionIds }) => sessionIds), [[]], 'no subscription is left')
    t.equal(server.hub.count('session:s'), 0)
  })

  t.test('of another user, or of another session, changes nothing', async (t) => {
    const server = createFarServer()
    const handshake = server.arrive()
    const nobody = server.arrive()
    const accepted = server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's' }))
    void server.manager.revoke('v')
    void server.manager.revoke('v', 's')
    void server.manager.revoke('u', 'x')
    for (let i = 0; i < 3; i++) server.broker.answer('revoke')
    server.broker.answer()
    t.type(await accepted, 'object')
    const other = server.handshakes.accept(nobody, server.admitted({ sessionId: 's' }))
    server.broker.answer()
    t.type(await other, 'object')
    t.equal(server.hub.count('session:s'), 2)
  })
})

t.test('a client that can\'t take even the first message is closed as a slow consumer', async (t) => {
  const server = createServer({ delivery: { maxTotalOutboxBytes: 100 } })
  const transport = new FakeTransport()
  transport.stalled = true
  transport.writeAheadBytes = 0
  await server.handshakes.accept(server.arrive(transport), server.admitted({ userId: 'u' }))
  server.clock.tick()
  t.equal(transport.closedWith?.code, 4000)
  t.equal(server.hub.count('user:u'), 0)
})

t.test('refuseAll', async (t) => {
  t.test('resolves at once without pending handshakes', async (t) => {
    await createServer().handshakes.refuseAll('restart')
    t.pass('resolved')
  })

  t.test('resolves when all have closed, and refuses later ones too', async (t) => {
    const server = createFarServer()
    const [first, second] = [server.arrive(), server.arrive()]
    void server.handshakes.accept(second, server.admitted({ userId: 'u' }))
    let done = false
    const all = server.handshakes.refuseAll('restart').then(() => { done = true })
    t.strictSame([first, second].map(({ transport }) => transport.closedWith?.code), [1012, 1012])
    server.broker.answer()
    await turn()
    t.equal(server.hub.count('user:u'), 0)
    const late = server.arrive()
    t.equal(late.transport.closedWith?.code, 1012)
    server.handshakes.end(first)
    server.handshakes.end(second)
    await turn()
    t.equal(done, false)
    server.handshakes.end(late)
    await all
    t.equal(done, true)
    t.equal(server.clock.pending, 0)
  })
})
