import t from 'tap'
import { FakeTransport } from '../../support/fake-transport.js'
import { createServer, type Peer, type TestServer } from '../../support/server.js'

const INTERVAL_MS = 30_000

/** Makes a client a slow consumer: publishes more to its session than its socket takes. */
function fallBehind (server: TestServer, peer: Peer, bytes: number): void {
  peer.transport.stalled = true
  const note = 'x'.repeat(10_000)
  for (let sent = 0; sent < bytes; sent += note.length) void server.manager.notifyAIComplete('s', { note })
  server.clock.tick()
}

t.test('one timer pings all clients, a few at a time', async (t) => {
  const server = createServer()
  const transports: FakeTransport[] = []
  for (let i = 0; i < 10_000; i++) {
    const transport = new FakeTransport()
    transports.push(transport)
    await server.connect({ transport })
  }
  server.heartbeat.start()
  t.equal(server.clock.pending, 1, 'one timer')

  let most = 0
  let before = 0
  for (let passed = 0; passed < INTERVAL_MS; passed += 50) {
    server.clock.advance(50)
    let pings = 0
    for (const transport of transports) pings += transport.pings.length
    most = Math.max(most, pings - before)
    before = pings
  }
  t.ok(most <= 100, `at most ${most} pings in one burst`)
  t.ok(transports.every(({ pings }) => pings.length === 1), 'each client once per interval')
  t.equal(server.clock.pending, 1, 'still one timer')
})

t.test('a client that is silent for a whole interval is terminated', async (t) => {
  const server = createServer()
  const silent = await server.connect()
  const answering = await server.connect()
  server.heartbeat.start()

  server.clock.advance(INTERVAL_MS)
  t.equal(silent.transport.pings.length, 1)
  t.equal(silent.transport.terminated, false, 'the first ping still runs')
  t.equal(silent.connection.isAlive, false)
  answering.pong()
  t.equal(answering.connection.isAlive, true)

  server.clock.advance(INTERVAL_MS)
  t.equal(silent.transport.terminated, true)
  t.equal(answering.transport.terminated, false)
  t.equal(answering.transport.pings.length, 2)
  t.strictSame(server.counters.closes, { abnormal: 1 })
  t.ok(server.logged.includes('debug: a client answered no ping: terminated'))
})

t.test('any input from a client keeps it alive', async (t) => {
  const signs: Record<string, (server: TestServer, peer: Peer) => void> = {
    'a message': (_server, peer) => { peer.send({ type: 'ping' }) },
    'a message that is refused': (_server, peer) => { peer.send('not JSON') },
    'a ping frame': (server, peer) => { server.inbound.unsolicited(peer.connection) },
    'the answer to an older ping': (_server, peer) => { peer.pong(peer.transport.pings[0]) },
    'a pong that answers nothing': (_server, peer) => { peer.pong(Buffer.from('unasked')) }
  }
  for (const [what, give] of Object.entries(signs)) {
    await t.test(what, async (t) => {
      const server = createServer()
      const peer = await server.connect()
      server.heartbeat.start()
      for (let round = 0; round < 4; round++) {
        server.clock.advance(INTERVAL_MS)
        give(server, peer)
      }
      t.equal(peer.transport.terminated, false)
      t.equal(peer.transport.pings.length, 4)
      server.clock.advance(2 * INTERVAL_MS)
      t.equal(peer.transport.terminated, true, 'and silence ends it afterwards')
    })
  }
})

t.test('a process that was blocked does not disconnect clients for it', async (t) => {
  const server = createServer()
  const peers: Peer[] = []
  for (let i = 0; i < 200; i++) peers.push(await server.connect())
  server.heartbeat.start()
  server.clock.advance(INTERVAL_MS)
  t.ok(peers.every(({ connection }) => !connection.isAlive), 'all are pinged, and none has answered')

  server.clock.sleep(10 * INTERVAL_MS)
  server.clock.advance(INTERVAL_MS - 250)
  t.notOk(peers.some(({ transport }) => transport.terminated), 'clients have a whole interval to answer')
  for (const peer of peers.slice(1)) peer.pong()
  server.clock.advance(INTERVAL_MS)
  t.equal(peers[0]!.transport.terminated, true, 'a client that stays silent is terminated')
  t.notOk(peers.slice(1).some(({ transport }) => transport.terminated))
})

t.test('pending input is read before silence counts', async (t) => {
  const server = createServer({ heartbeatIntervalMs: 250 })
  const peer = await server.connect()
  server.heartbeat.start()
  server.clock.advance(250)
  // The pong waits in the socket while the process is blocked briefly, and Node runs timers before I/O.
  server.clock.endOfTick(() => { peer.pong() })
  server.clock.sleep(300)
  t.equal(peer.transport.terminated, false)
  t.equal(peer.transport.pings.length, 2)
})

t.test('a slow consumer that still reads stays alive, and is pinged', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  server.heartbeat.start()
  fallBehind(server, peer, 900_000)
  for (let round = 0; round < 6; round++) {
    server.clock.advance(INTERVAL_MS)
    peer.transport.drain()
    t.ok(peer.connection.subscriber.outbox.isBehind, 'messages still wait')
  }
  t.equal(peer.transport.terminated, false, 'it reads the pings only after the waiting messages')
  t.equal(peer.transport.closedWith, undefined)
  t.ok(peer.transport.pings.length >= 6)
})

t.test('a client that has just read its last waiting message gets time to answer the pings behind it', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  server.heartbeat.start()
  fallBehind(server, peer, 200_000)
  server.clock.advance(INTERVAL_MS)
  peer.transport.drain()
  t.notOk(peer.connection.subscriber.outbox.isBehind, 'no message waits')
  server.clock.advance(INTERVAL_MS)
  t.equal(peer.transport.terminated, false)
  server.clock.advance(INTERVAL_MS)
  t.equal(peer.transport.terminated, true, 'its silence counts afterwards')
})

t.test('a client that reads one long message stays alive while it answers pings', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  server.heartbeat.start()
  // The kernel takes all of it at once, and the client needs minutes to read it.
  await server.manager.notifyAIComplete('s', { note: 'x'.repeat(1_000_000) })
  server.clock.tick()
  const pings = peer.transport.pings.length
  t.ok(pings >= 15, `${pings} pings between its fragments`)
  for (let answered = 0; answered < pings; answered++) {
    server.clock.advance(20_000)
    peer.pong(peer.transport.pings[answered])
  }
  t.equal(peer.transport.terminated, false)
})

t.test('a client that reads nothing for too long is closed as a slow consumer', async (t) => {
  const server = createServer({ delivery: { stallTimeoutMs: 60_000 } })
  const peer = await server.connect({ sessionId: 's' })
  server.heartbeat.start()
  fallBehind(server, peer, 500_000)
  server.clock.advance(60_000)
  t.equal(peer.transport.closedWith, undefined)

  server.clock.advance(INTERVAL_MS)
  t.same(peer.transport.closedWith, { code: 4000, reason: 'Slow reader' })
  t.equal(server.pool.queuedBytes, 0, 'its memory is free at once')
  t.match(server.manager.getMetrics(), { slowConsumers: 1, closes: { slowConsumer: 1 } })
  server.clock.advance(2_000)
  t.equal(peer.transport.terminated, true, 'it is terminated at once')
  t.equal(server.connections.size, 0)
})

t.test('does nothing after stop', async (t) => {
  t.test('before its timer', async (t) => {
    const server = createServer()
    const peer = await server.connect()
    server.heartbeat.start()
    server.heartbeat.stop()
    t.equal(server.clock.pending, 0)
    server.clock.advance(10 * INTERVAL_MS)
    t.equal(peer.transport.pings.length, 0)
  })

  t.test('between its timer and the end of that turn', async (t) => {
    const server = createServer()
    const peer = await server.connect()
    server.heartbeat.start()
    server.clock.endOfTick(() => { server.heartbeat.stop() })
    server.clock.advance(10 * INTERVAL_MS)
    t.equal(peer.transport.pings.length, 0)
    t.equal(server.clock.pending, 0)
  })

  t.test('twice, or never started', async (t) => {
    const { heartbeat } = createServer()
    heartbeat.stop()
    heartbeat.stop()
    t.pass('harmless')
  })
})

t.test('round trips', async (t) => {
  t.test('are the time from a ping to its answer', async (t) => {
    const server = createServer()
    const peer = await server.connect()
    server.heartbeat.start()
    t.equal(server.manager.getMetrics().averageLatency, 0, 'none yet')
    server.clock.advance(250)
    server.clock.advance(40)
    peer.pong()
    t.equal(server.manager.getMetrics().averageLatency, 40)
    peer.pong()
    t.equal(server.manager.getMetrics().averageLatency, 40, 'one pong gives one round trip')
    server.clock.advance(INTERVAL_MS - 40)
    server.clock.advance(20)
    peer.pong()
    t.equal(server.manager.getMetrics().averageLatency, 30)
  })

  t.test('are taken from the latest ping only', async (t) => {
    const server = createServer()
    const peer = await server.connect()
    server.heartbeat.start()
    server.clock.advance(250)
    peer.send({ type: 'ping' })
    server.clock.advance(INTERVAL_MS)
    t.equal(peer.transport.pings.length, 2)
    peer.pong(peer.transport.pings[0])
    t.equal(server.manager.getMetrics().averageLatency, 0, 'a late pong for an older ping does not count')
    server.clock.advance(10)
    peer.pong()
    t.equal(server.manager.getMetrics().averageLatency, 10)
  })

  t.test('are taken only when nothing was queued before the ping', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    server.heartbeat.start()
    peer.transport.stalled = true
    void server.manager.notifyAIComplete('s', {})
    server.clock.advance(250)
    t.equal(peer.transport.pings.length, 1)
    server.clock.advance(40)
    peer.pong()
    t.equal(server.counters.averageLatency, 0)
    t.equal(peer.connection.isAlive, true, 'but it is alive')
  })
})

t.test('a transport without pings is never pinged', async (t) => {
  const server = createServer()
  const transport = new FakeTransport()
  delete transport.ping
  const peer = await server.connect({ transport })
  server.heartbeat.start()
  server.clock.advance(3 * INTERVAL_MS)
  t.equal(transport.pings.length, 0)
  t.equal(transport.terminated, false)
  peer.leave()
  t.equal(server.connections.size, 0)
})

t.test('a removed connection is no longer pinged', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  server.heartbeat.start()
  server.clock.advance(INTERVAL_MS)
  peer.leave()
  server.clock.advance(3 * INTERVAL_MS)
  t.equal(peer.transport.pings.length, 1)
})
