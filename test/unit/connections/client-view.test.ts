import t from 'tap'
import type { Client } from '../../../lib/connections/client-view.js'
import { createServer, type Peer, type TestServer } from '../../support/server.js'

async function meet (): Promise<{ server: TestServer, peer: Peer, client: Client }> {
  let client: Client | undefined
  const server = createServer({ onMessage: (_message, sender) => { client = sender } })
  const peer = await server.connect({ userId: 'u', sessionId: 's' })
  peer.send({ type: 'hello' })
  return { server, peer, client: client! }
}

t.test('the app\'s view of a client', async (t) => {
  t.test('sends a message with the server\'s timestamp', async (t) => {
    const { server, peer, client } = await meet()
    client.send({ type: 'welcome', to: 'u', timestamp: 'yesterday' })
    t.strictSame(peer.take(), [{ type: 'welcome', to: 'u', timestamp: new Date(server.clock.now()).toISOString() }])
  })

  t.test('throws for an invalid message', async (t) => {
    const { peer, client } = await meet()
    t.throws(() => { client.send({} as { type: string }) }, { code: 'AICW_ERR_INVALID_MESSAGE' })
    t.throws(() => { client.send({ type: 'ai_complete' }) }, { code: 'AICW_ERR_INVALID_MESSAGE' })
    t.throws(() => { client.send({ type: 'x', n: 1n }) }, { code: 'AICW_ERR_NOT_SERIALIZABLE' })
    t.strictSame(peer.take(), [])
  })

  t.test('has the current subscriptions', async (t) => {
    const { peer, client } = await meet()
    peer.ask({ type: 'subscribe', sessionId: 'x' })
    t.strictSame(client.sessionIds, ['s', 'x'])
    peer.ask({ type: 'unsubscribe' })
    t.strictSame(client.sessionIds, [])
  })

  t.test('disconnects the client permanently', async (t) => {
    const { peer, client } = await meet()
    client.disconnect()
    client.disconnect()
    t.same(peer.transport.closedWith, { code: 4502, reason: 'Access revoked' })
  })

  t.test('does nothing after a disconnect', async (t) => {
    const { peer, client } = await meet()
    peer.leave()
    client.send({ type: 'late' })
    client.disconnect()
    t.strictSame(peer.take(), [])
    t.equal(peer.transport.closedWith, undefined)
  })
})
