import t from 'tap'
import { metrics } from '../../../lib/manager/stats.js'
import { createServer } from '../../support/server.js'

t.test('the snapshot', async (t) => {
  t.test('of nobody', async (t) => {
    t.strictSame(createServer().manager.getStats(), { totalConnections: 0, activeConnections: 0, clients: [] })
  })

  t.test('shows each client as documented, without absent ids', async (t) => {
    const server = createServer()
    const full = await server.connect({ userId: 'u', sessionId: 'a' })
    const bare = await server.connect()
    full.ask({ type: 'subscribe', sessionId: 'b' })
    t.strictSame(server.manager.getStats(), {
      totalConnections: 2,
      activeConnections: 2,
      clients: [
        { id: full.connection.id, userId: 'u', sessionId: 'b', isAlive: true, state: 1 },
        { id: bare.connection.id, isAlive: true, state: 1 }
      ]
    })
    full.ask({ type: 'unsubscribe', sessionId: 'b' })
    t.equal(server.manager.getStats().clients[0]!.sessionId, 'a', 'the latest current subscription')
  })

  t.test('counts connections that are open and alive as active', async (t) => {
    const server = createServer()
    const silent = await server.connect()
    const closing = await server.connect()
    await server.connect()
    server.heartbeat.start()
    server.clock.advance(250)
    server.connections.close(closing.connection, 'restart')
    const { totalConnections, activeConnections, clients } = server.manager.getStats()
    t.strictSame([totalConnections, activeConnections], [3, 1])
    t.strictSame(clients.map(({ isAlive, state }) => [isAlive, state]), [[false, 1], [true, 2], [true, 1]])
    silent.pong()
    t.equal(server.manager.getStats().activeConnections, 2)
  })

  t.test('lists only selected clients, and counts all', async (t) => {
    const server = createServer({ authorize: () => new Promise(() => undefined) })
    const [a, b, c] = [
      await server.connect({ userId: 'u', sessionId: 's' }), await server.connect({ userId: 'v', sessionId: 's' }), await server.connect({ userId: 'u' })
    ]
    c.send({ type: 'subscribe', sessionId: 's' })
    const listed = (filter: Parameters<typeof server.manager.getStats>[0]): string[] => {
      const { totalConnections, activeConnections, clients } = server.manager.getStats(filter)
      t.strictSame([totalConnections, activeConnections], [3, 3])
      return clients.map(({ id }) => id)
    }
    t.strictSame(listed({}), [a, b, c].map(({ connection }) => connection.id))
    t.strictSame(listed({ sessionId: 's' }), [a.connection.id, b.connection.id], 'without pending subscriptions')
    t.strictSame(listed({ userId: 'u' }), [a.connection.id, c.connection.id])
    t.strictSame(listed({ userId: 'u', sessionId: 's' }), [a.connection.id])
    t.strictSame(listed({ limit: 2 }), [a.connection.id, b.connection.id])
    t.strictSame(listed({ limit: 0 }), [])
    t.strictSame(listed({ userId: 'u', limit: 1 }), [a.connection.id])
    t.strictSame(listed({ userId: 'nobody' }), [])
  })
})

t.test('the metrics', async (t) => {
  t.test('are all there from the start', async (t) => {
    t.strictSame(createServer().manager.getMetrics(), {
      totalConnections: 0,
      activeConnections: 0,
      messagesSent: 0,
      messagesReceived: 0,
      reconnectAttempts: 0,
      averageLatency: 0,
      failed: 0,
      errors: {},
      closes: {},
      bufferedAmount: 0,
      collapsed: 0,
      dropped: 0,
      slowConsumers: 0,
      historyBytes: 0,
      broker: { state: 'ready' },
      evicted: { messages: 0, starts: 0, texts: 0, ends: 0, shortened: 0, streams: 0 }
    })
  })

  t.test('count what happens', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    await server.connect({ sessionId: 's' })
    server.clock.tick()
    t.equal(server.manager.getMetrics().messagesSent, 2, 'a `connection` each')
    void server.manager.notifyAIStart('s', {})
    peer.ask({ type: 'ping' })
    peer.ask('nonsense')
    peer.ask('nonsense')
    peer.ask({ type: 'shout' })
    server.counters.reconnects++
    t.match(server.manager.getMetrics(), {
      totalConnections: 2, activeConnections: 2, messagesSent: 8, messagesReceived: 4, reconnectAttempts: 1,
      errors: { invalid_json: 2, unknown_type: 1 }
    })
  })

  t.test('count waiting, collapsed and dropped messages', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    peer.transport.stalled = true
    for (let i = 0; i < 20; i++) void server.manager.notifyAIComplete('s', { note: 'x'.repeat(10_000) })
    server.clock.tick()
    const { bufferedAmount } = server.manager.getMetrics()
    t.ok(bufferedAmount > 200_000 && bufferedAmount < 205_000, `${bufferedAmount} bytes`)
    peer.leave()
    t.match(server.manager.getMetrics(), { bufferedAmount: 0, dropped: 20 - peer.take().length, slowConsumers: 0 })
    t.ok(server.manager.getMetrics().dropped > 0)
  })

  t.test('are a copy', async (t) => {
    const server = createServer()
    const peer = await server.connect()
    const before = server.manager.getMetrics()
    peer.ask('nonsense')
    server.connections.close(peer.connection, 'restart')
    t.strictSame([before.errors, before.closes], [{}, {}])
  })
})

t.test('history metrics are zero if the broker keeps its messages elsewhere', async (t) => {
  const { connections, pool, counters } = createServer()
  t.match(metrics({ connections, pool, counters, broker: {} }), {
    historyBytes: 0, evicted: { messages: 0, starts: 0, texts: 0, ends: 0, shortened: 0, streams: 0 }
  })
})
