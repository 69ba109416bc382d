import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { DisconnectSignal } from '../../../lib/fastify/disconnect-signal.js'

t.test('the signal aborts when the client disconnects', async (t) => {
  const disconnect = new DisconnectSignal()
  const { signal } = disconnect
  t.equal(signal.aborted, false)
  disconnect.trigger()
  t.equal(signal.aborted, true)
  t.equal(disconnect.signal, signal)
})

t.test('a signal that is read after the disconnect is aborted', async (t) => {
  const disconnect = new DisconnectSignal()
  disconnect.trigger()
  t.equal(disconnect.signal.aborted, true)
})

t.test('listeners run in the async context of the request', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const disconnect = storage.run('its request', () => new DisconnectSignal())
  const seen: Array<string | undefined> = []
  disconnect.signal.addEventListener('abort', () => { seen.push(storage.getStore()) })
  storage.run('another', () => { disconnect.trigger() })
  t.strictSame(seen, ['its request'])
})
