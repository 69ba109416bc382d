import t from 'tap'
import { Socket } from '../../../lib/client/socket.js'
import { FakePage } from '../../support/fake-page.js'

/** Creates a socket to a server that answers pings immediately, and counts its messages. */
function socketOn (page: FakePage) {
  const nothing = (): void => { /* Not used here. */ }
  const socket = new Socket(page.WebSocket, 'wss://app.example/ws', [], page.clock, { message: nothing, close: nothing, silent: nothing, sent: nothing, latency: nothing })
  const { sent } = page.socket
  const send = (): void => {
    const before = sent.length
    socket.send('{"type":"hello"}')
    if (sent.length > before + 1) socket.pong()
  }
  return { socket, send, count: () => sent.length }
}

t.test('without a rate limit no message waits', async (t) => {
  for (const limits of [undefined, {}, { burst: 5 }]) {
    const { socket, send } = socketOn(new FakePage())
    socket.start(limits)
    for (let n = 0; n < 1000; n++) send()
    t.ok(socket.waitMs <= 0)
  }
})

t.test('the client uses 80 % of the burst, and of the rate on average', async (t) => {
  const page = new FakePage()
  const { socket, send, count } = socketOn(page)
  socket.start({ burst: 100, messagesPerSecond: 50 })
  for (let ms = 0; ms <= 10_000; ms++) {
    while (socket.waitMs <= 0) send()
    if (ms === 0) t.equal(count(), 80)
    page.clock.advance(1)
  }
  t.ok(count() >= 478 && count() <= 481, `${count()} messages`)
})

t.test('a rate without a burst has no limit of messages in flight', async (t) => {
  const { socket, send, count } = socketOn(new FakePage())
  socket.start({ messagesPerSecond: 1 })
  for (let n = 0; n < 1000; n++) send()
  t.ok(socket.waitMs <= 0)
  t.equal(count(), 1000, 'no pings')
})
