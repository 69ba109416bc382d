import t, { type Test } from 'tap'
import type { Action, Identity } from 'ai-canvas-ws'
import { handHook } from '../../support/hand-hook.js'
import { turn } from '../../support/hand-broker.js'
import { createFarServer, createServer, type Peer, type TestServer } from '../../support/server.js'
import type { Broker } from '../../../lib/streams/broker.js'

const HOUR_MS = 3_600_000
const cancel = { type: 'cancel', sessionId: 's', jobId: 'j' }

/** Events that end a client's right while a hook or the broker is pending, and the reply that it then gets. */
const meanwhile: Record<string, (server: TestServer<Broker>, peer: Peer) => unknown> = {
  'it left': (_server, peer) => { peer.leave() },
  'it was closed': (server, peer) => { server.connections.close(peer.connection, 'rateLimited') },
  'its user was revoked': (server) => { server.node.revoke({ userId: 'u' }) },
  'its right in the session was revoked': (server) => { server.node.revoke({ userId: 'u', sessionId: 's' }) },
  'its identity expired, and the timer is late': (server) => { server.clock.jump(HOUR_MS) }
}

t.test('a cancel is not carried out', async (t) => {
  for (const [name, happen] of Object.entries(meanwhile)) {
    t.test(`that is being authorized when ${name}`, async (t) => {
      const { hook, calls } = handHook<unknown[], boolean>()
      const server = createServer({ allowCancel: true, authorize: hook })
      const peer = await server.connect({ userId: 'u', expiresAt: server.clock.now() + HOUR_MS })
      const { signal } = server.manager.startAI('s', {}, { jobId: 'j' })
      peer.send(cancel)
      await happen(server, peer)
      calls[0]!.answer(true)
      await turn()
      t.equal(signal.aborted, false)
      const told = peer.take()
      t.match(told, name.includes('session') ? [{ type: 'error', code: 'forbidden', request: 'cancel', jobId: 'j' }] : [])
      t.equal(told.length, name.includes('session') ? 1 : 0)
      if (name.includes('expired')) t.equal(peer.transport.closedWith?.code, 4002)
    })

    t.test(`for whose job the broker is being asked when ${name}`, async (t) => {
      const server = createFarServer({ allowCancel: true })
      const peer = await server.connect({ userId: 'u', expiresAt: server.clock.now() + HOUR_MS })
      const { signal } = server.manager.startAI('s', {}, { jobId: 'j' })
      server.broker.answer()
      await turn()
      peer.send({ type: 'cancel', sessionId: 's' })
      await happen(server, peer)
      server.broker.answer('currentJob session:s')
      await turn()
      t.strictSame(server.broker.waiting, [], 'no node gets the cancel')
      t.equal(signal.aborted, false)
    })
  }

  t.test('a revocation of another user or session has no effect', async (t) => {
    const { hook, calls } = handHook<unknown[], boolean>()
    const server = createServer({ allowCancel: true, authorize: hook })
    const peer = await server.connect({ userId: 'u' })
    const { signal } = server.manager.startAI('s', {}, { jobId: 'j' })
    peer.send(cancel)
    await server.manager.revoke('v', 's')
    await server.manager.revoke('u', 'other')
    calls[0]!.answer(true)
    await turn()
    t.match(peer.take(), [{ type: 'cancelling', jobId: 'j' }])
    t.equal(signal.aborted, true)
  })

  t.test('the next request is decided independently', async (t) => {
    const { hook, calls } = handHook<unknown[], boolean>()
    const server = createServer({ allowCancel: true, authorize: hook })
    const peer = await server.connect({ userId: 'u' })
    const { signal } = server.manager.startAI('s', {}, { jobId: 'j' })
    peer.send(cancel)
    await server.manager.revoke('u', 's')
    peer.send(cancel)
    calls[0]!.answer(true)
    await turn()
    t.match(peer.take(), [{ code: 'forbidden' }])
    t.equal(signal.aborted, false)
    calls[1]!.answer(true)
    await turn()
    t.match(peer.take(), [{ type: 'cancelling' }])
    t.equal(signal.aborted, true)
  })
})

t.test('a subscribe is not carried out', async (t) => {
  const asks = async (t: Test, happen: (server: TestServer<Broker>, peer: Peer) => unknown, when: 'authorize' | 'join'): Promise<Peer> => {
    const { hook, calls } = handHook<[Identity, Action], boolean>()
    const server = createFarServer({ authorize: hook })
    void server.manager.notifyAIStart('s', { prompt: 'secret' })
    server.broker.answer()
    const peer = await server.connect({ userId: 'u', expiresAt: server.clock.now() + HOUR_MS })
    peer.send({ type: 'subscribe', sessionId: 's' })
    if (when === 'authorize') await happen(server, peer)
    calls[0]!.answer(true)
    await turn()
    if (when === 'join') {
      await happen(server, peer)
      server.broker.answer('join session:s')
      await turn()
    }
    t.strictSame(server.broker.waiting, [], 'the broker is not called again')
    t.notOk(peer.take().some(({ type }) => type === 'subscribed'))
    t.notMatch(peer.transport.texts.join(), /secret/)
    t.equal(server.hub.count('session:s'), 0)
    return peer
  }
  for (const [name, happen] of Object.entries(meanwhile)) {
    for (const when of ['authorize', 'join'] as const) {
      t.test(`when, during ${when}, ${name}`, async (t) => {
        const peer = await asks(t, happen, when)
        if (name.includes('expired')) t.equal(peer.transport.closedWith?.code, 4002)
      })
    }
  }
})

t.test('a client whose identity expires during the handshake gets no message', async (t) => {
  const server = createFarServer()
  void server.manager.notifyAIStart('s', { prompt: 'secret' })
  server.broker.answer()
  const handshake = server.arrive()
  const accepted = server.handshakes.accept(handshake, server.admitted({ userId: 'u', sessionId: 's', expiresAt: server.clock.now() + HOUR_MS }))
  server.clock.jump(HOUR_MS)
  server.broker.answer()
  t.equal(await accepted, 'tokenExpired')
  server.clock.tick()
  t.strictSame(handshake.transport.texts, [])
  t.equal(server.hub.count('session:s'), 0)
  t.equal(server.connections.size, 0)
})

t.test('messages after the expiry are ignored, even if the timer is late', async (t) => {
  const heard: unknown[] = []
  const server = createServer({ onMessage: (message) => { heard.push(message) } })
  const peer = await server.connect({ userId: 'u', expiresAt: server.clock.now() + HOUR_MS })
  server.clock.jump(HOUR_MS)
  t.strictSame(peer.ask({ type: 'mine' }), [])
  t.strictSame(heard, [])
  t.equal(peer.transport.closedWith?.code, 4002)
  server.inbound.unsolicited(peer.connection)
  t.equal(server.counters.received, 0)
})

t.test('the app can\'t send to a client after its expiry', async (t) => {
  for (const outcome of ['false', 'rejects', 'sends']) {
    const { hook, calls } = handHook<unknown[], unknown>()
    const server = createServer({
      onMessage: async (message, client) => {
        const answer = await hook(message)
        if (outcome === 'sends') client.send({ type: 'mine' })
        return answer
      }
    })
    const peer = await server.connect({ userId: 'u', expiresAt: server.clock.now() + HOUR_MS })
    peer.send({ type: 'ask' })
    server.clock.jump(HOUR_MS)
    if (outcome === 'rejects') calls[0]!.fail(new Error('no'))
    else calls[0]!.answer(false)
    await turn()
    t.strictSame(peer.take(), [], outcome)
    t.equal(peer.transport.closedWith?.code, 4002)
  }
})
