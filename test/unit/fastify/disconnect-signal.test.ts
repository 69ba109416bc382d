import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { DisconnectSignal } from '../../../lib/fastify/disconnect-signal.js'

t.test('a signal that was asked for fires once the client has gone', async (t) => {
  const departure = new DisconnectSignal()
  const { signal } = departure
  t.equal(signal.aborted, false)
  departure.note()
  t.equal(signal.aborted, true)
  t.equal(departure.signal, signal)
})

t.test('one that is asked for later has fired', async (t) => {
  const departure = new DisconnectSignal()
  departure.note()
  t.equal(departure.signal.aborted, true)
})

t.test('those who listen are told in the async context in which they asked for the signal', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const departure = new DisconnectSignal()
  const seen: Array<string | undefined> = []
  storage.run('its request', () => { departure.signal.addEventListener('abort', () => { seen.push(storage.getStore()) }) })
  storage.run('another', () => { departure.note() })
  t.strictSame(seen, ['its request'])
})
