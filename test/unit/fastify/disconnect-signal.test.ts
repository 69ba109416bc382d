import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { DisconnectSignal } from '../../../lib/fastify/disconnect-signal.js'

t.test('a signal that was asked for fires once the client has gone', async (t) => {
  const disconnect = new DisconnectSignal()
  const { signal } = disconnect
  t.equal(signal.aborted, false)
  disconnect.trigger()
  t.equal(signal.aborted, true)
  t.equal(disconnect.signal, signal)
})

t.test('one that is asked for later has fired', async (t) => {
  const disconnect = new DisconnectSignal()
  disconnect.trigger()
  t.equal(disconnect.signal.aborted, true)
})

t.test('those who listen are told in the async context in which they asked for the signal', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const disconnect = new DisconnectSignal()
  const seen: Array<string | undefined> = []
  storage.run('its request', () => { disconnect.signal.addEventListener('abort', () => { seen.push(storage.getStore()) }) })
  storage.run('another', () => { disconnect.trigger() })
  t.strictSame(seen, ['its request'])
})
