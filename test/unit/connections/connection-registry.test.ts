import t from 'tap'
import { clientId } from '../../../lib/connections/connection.js'
import { createServer } from '../../support/server.js'

t.test('a closing connection gets the messages sent before, and no later ones', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  void server.manager.notifyAIStart('s', {})
  server.connections.close(peer.connection, 'restart')
  void server.manager.notifyAIComplete('s', {})
  t.match(peer.take(), [{ type: 'ai_start' }])
  t.same(peer.transport.closedWith, { code: 1012, reason: 'Server restart' })
  t.equal(server.connections.size, 1, 'it is tracked until its socket has closed')
  peer.leave(1012)
  t.equal(server.connections.size, 0)
  await server.notifier.close()
  server.broker.close()
  t.equal(server.clock.pending, 0, 'and leaves no timer')
  t.equal(server.hub.count('session:s'), 0)
})

t.test('a slow consumer gets its waiting messages before the close', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  peer.transport.stalled = true
  for (let i = 0; i < 20; i++) void server.manager.notifyAIComplete('s', { note: 'x'.repeat(10_000) })
  server.clock.tick()
  server.connections.close(peer.connection, 'restart')
  t.equal(peer.transport.closedWith, undefined)
  peer.transport.stalled = false
  peer.transport.drain()
  t.equal(peer.take().length, 20)
  t.equal(peer.transport.closedWith?.code, 1012)
})

t.test('a second close has no effect', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  server.connections.close(peer.connection, 'revoked')
  server.connections.close(peer.connection, 'restart')
  t.equal(peer.transport.closedWith?.code, 4502)
  t.strictSame(server.counters.closes, { revoked: 1 })
  t.equal(server.clock.pending, 1)
})

t.test('a removed connection can\'t be closed or removed again', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  peer.leave()
  server.connections.close(peer.connection, 'restart')
  peer.leave()
  t.equal(peer.transport.closedWith, undefined)
  t.strictSame(server.counters.closes, {})
  t.equal(server.logged.filter((line) => line === 'info: client disconnected').length, 1)
})

t.test('a client that does not answer the close frame is terminated', async (t) => {
  const server = createServer({ closeTimeoutMs: 2_000 })
  const peer = await server.connect({ userId: 'u' })
  server.connections.close(peer.connection, 'restart')
  server.clock.advance(1_999)
  t.equal(peer.transport.terminated, false)
  server.clock.advance(1)
  t.equal(peer.transport.terminated, true)
  t.equal(server.connections.size, 0)
  t.equal(server.hub.count('user:u'), 0)
  peer.leave(1006)
  t.equal(server.connections.size, 0, 'its socket\'s own end changes nothing more')
})

t.test('closing all', async (t) => {
  t.test('resolves at once without connections', async (t) => {
    await createServer().connections.closeAll('restart')
    t.pass('resolved')
  })

  t.test('waits for all connections', async (t) => {
    const server = createServer()
    const peers = [await server.connect(), await server.connect(), await server.connect()]
    let done = false
    const all = server.connections.closeAll('restart').then(() => { done = true })
    t.strictSame(peers.map(({ transport }) => transport.closedWith?.code), [1012, 1012, 1012])
    peers[0]!.leave()
    peers[2]!.leave()
    await Promise.resolve()
    t.equal(done, false)
    peers[1]!.leave()
    await all
    t.equal(done, true)
  })

  t.test('waits no longer than the timeout', async (t) => {
    const server = createServer({ closeTimeoutMs: 500 })
    const peers = [await server.connect(), await server.connect()]
    const all = server.connections.closeAll('restart')
    server.clock.advance(500)
    await all
    t.ok(peers.every(({ transport }) => transport.terminated))
    t.equal(server.clock.pending, 0)
  })
})

t.test('connects and disconnects are logged with the total', async (t) => {
  const server = createServer()
  const first = await server.connect({ userId: 'u' })
  const second = await server.connect()
  first.leave(1001)
  t.strictSame(server.log.entries.map(({ message, fields }) => [message, fields]), [
    ['client connected', { clientId: first.connection.id, userId: 'u', total: 1 }],
    ['client connected', { clientId: second.connection.id, userId: undefined, total: 2 }],
    ['client disconnected', { clientId: first.connection.id, code: 1001, total: 1 }]
  ])
  t.strictSame([...server.connections.values()], [second.connection])
})

t.test('a client\'s id has the time, and can\'t be guessed', async (t) => {
  const ids = new Set(Array.from({ length: 1_000 }, () => clientId(1_700_000_000_000)))
  t.equal(ids.size, 1_000)
  for (const id of ids) if (!/^client_1700000000000_[0-9a-f]{32}$/.test(id)) t.fail(id)
})
