import t from 'tap'
import { clientOn, connected, FakePage, settled, toldOf } from '../../support/fake-page.js'

// The browser's events: what a page does that comes online, into sight, or back from a sleep.

t.test('coming online, or into sight, it tries at once and from the beginning', async (t) => {
  for (const event of ['online', 'visible'] as const) {
    const page = new FakePage()
    const client = connected(page)
    page.socket.end()
    page.clock.advance(1500)
    page.socket.end()
    t.equal(client.state, 'waiting')
    page.wake(event)
    t.same([client.state, page.sockets.length], ['connecting', 3])
    page.socket.end()
    page.clock.advance(1500)
    t.equal(page.sockets.length, 4, 'with the first, short time')
  }
})

t.test('it does not hurry a server that asked for time', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.end(1013, 'Try again later')
  page.wake('visible')
  t.equal(client.state, 'waiting')
})

t.test('after all attempts are used up, coming online or into sight starts them anew', async (t) => {
  for (const event of ['online', 'visible'] as const) {
    const page = new FakePage()
    const client = connected(page, { maxReconnectAttempts: 0 })
    page.socket.end()
    t.equal(client.reason, 'attempts')
    page.wake('offline')
    t.equal(client.state, 'closed')
    page.wake(event)
    t.equal(client.state, 'connecting')
  }
})

t.test('a network that is back replaces an attempt that began on the old one', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  page.wake('visible')
  t.equal(page.sockets.length, 1)
  page.wake('online')
  t.same([page.sockets.length, page.sockets[0]!.closedWith, client.state], [2, 1000, 'connecting'])
})

t.test('after a sleep, or on another network, it asks at once', async (t) => {
  for (const event of ['visible', 'online', 'offline'] as const) {
    const page = new FakePage()
    const client = connected(page)
    page.wake(event)
    page.wake(event)
    t.same(page.socket.types, ['ping'])
    page.clock.advance(4999)
    t.equal(client.state, 'connected')
    page.clock.advance(1)
    t.equal(client.state, event === 'offline' ? 'waiting' : 'connecting')
  }
})

// ---- a connection that was lost in the sleep

t.test('a connection that ends soon after the page woke up was lost in its sleep: the client reconnects at once', async (t) => {
  for (const event of ['visible', 'online'] as const) {
    for (const code of [1006, 1001, 1012, 4000]) {
      const page = new FakePage()
      const client = connected(page)
      page.clock.advance(20_000)
      page.wake(event)
      page.clock.advance(5)
      page.socket.end(code)
      t.match(toldOf(client, 'close'), [{ code, wasConnected: true }])
      page.clock.advance(0)
      t.same([client.state, page.sockets.length], ['connecting', 2], `${event}, ${code}`)
    }
  }
})

t.test('it reconnects at once after a probe that nobody answered', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.wake('visible')
  page.clock.advance(4999)
  t.equal(client.state, 'connected')
  page.clock.advance(1)
  t.match(toldOf(client, 'state'), [{ state: 'waiting', reason: 'silent' }, { state: 'connecting' }])
})

t.test('what had arrived before the sleep does not make the connection a live one', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.wake('visible')
  page.socket.say({ type: 'news' })
  page.socket.end()
  page.clock.advance(0)
  t.equal(client.state, 'connecting')
})

t.test('it hurries once for each time that the page wakes up', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.wake('visible')
  page.socket.end()
  page.clock.advance(0)
  page.socket.end()
  page.clock.advance(1499)
  t.equal(client.state, 'waiting', 'that attempt failed: the ordinary backoff')
  page.clock.advance(1)
  t.equal(client.state, 'connecting', 'from its beginning')
  page.socket.admit()
  page.socket.end()
  page.clock.advance(1499)
  t.equal(client.state, 'waiting', 'the same after the next connection, though it ends within the five seconds')
  page.clock.advance(1)
  page.socket.admit()
  t.equal(client.state, 'connected')
  page.wake('visible')
  page.socket.end()
  page.clock.advance(0)
  t.equal(client.state, 'connecting', 'until the page wakes up again')
})

t.test('a connection that ends later was not lost in the sleep', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.wake('visible')
  page.clock.advance(10)
  page.socket.say({ type: 'pong' })
  page.clock.advance(4991)
  page.socket.end()
  page.clock.advance(1499)
  t.equal(client.state, 'waiting')
})

t.test('it does not hurry where the close code forbids it, or there is no network', async (t) => {
  for (const [code, state, reason] of [[4500, 'closed', 'refused'], [1008, 'closed', 'refused'], [1013, 'waiting', 'lost'], [4001, 'waiting', 'lost']] as const) {
    const page = new FakePage()
    const client = connected(page)
    page.wake('visible')
    page.socket.end(code)
    page.clock.advance(14_000)
    t.same([client.state, client.reason], [state, reason], `${code}`)
  }
  const page = new FakePage()
  const client = connected(page)
  page.wake('visible')
  page.online = false
  page.socket.end()
  page.clock.advance(14_000)
  t.same([client.state, client.reason], ['waiting', 'offline'])
  const off = new FakePage()
  const once = connected(off, { reconnect: false })
  off.wake('visible')
  off.socket.end()
  t.same([once.state, once.reason], ['closed', 'disabled'])
})

t.test('an attempt that was under way when the page fell asleep is made again at once', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  page.wake('visible')
  page.socket.end()
  page.clock.advance(0)
  t.same([client.state, page.sockets.length], ['connecting', 2])
  page.socket.end()
  page.clock.advance(1499)
  t.equal(client.state, 'waiting')
  page.clock.advance(1)
  t.equal(client.state, 'connecting')
})

// ---- events that do not stop

t.test('a network that comes online every 150 ms does not keep a handshake of 200 ms from its end', async (t) => {
  for (const events of [['online'], ['offline', 'online'], ['online', 'visible']] as const) {
    const page = new FakePage()
    let asked = 0
    const client = clientOn(page, { getToken: () => `token ${++asked}` })
    client.connect()
    const begun = new Map<unknown, number>()
    for (let ms = 0; ms < 5000 && client.state !== 'connected'; ms += 50) {
      await settled()
      for (const socket of page.sockets) if (!begun.has(socket)) begun.set(socket, ms)
      if (ms - begun.get(page.socket)! >= 200) page.socket.admit()
      else if (ms % 150 === 100) for (const event of events) page.wake(event)
      page.clock.advance(50)
    }
    t.equal(client.state, 'connected', events.join())
    t.equal(asked, 2, 'the first one was heeded')
    t.equal(page.sockets.filter(({ closedWith }) => closedWith === undefined).length, 1)
  }
})

t.test('the network comes online while `getToken` is under way: it is asked once more, and the late answer opens nothing', async (t) => {
  const page = new FakePage()
  const tokens: Array<(token: string) => void> = []
  const client = clientOn(page, { getToken: () => new Promise<string>((resolve) => { tokens.push(resolve) }) })
  client.connect()
  for (let i = 0; i < 10; i++) page.wake('online')
  t.equal(tokens.length, 2)
  tokens[0]!('of the old network')
  await settled()
  t.equal(page.sockets.length, 0)
  tokens[1]!('of the new one')
  await settled()
  t.equal(page.sockets.length, 1)
  page.wake('online')
  page.socket.admit()
  t.equal(client.state, 'connected')
})

t.test('each attempt may be replaced once', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  page.wake('online')
  page.wake('online')
  t.equal(page.sockets.length, 2)
  page.socket.end()
  page.clock.advance(1500)
  t.equal(page.sockets.length, 3)
  page.wake('online')
  page.wake('online')
  t.same([page.sockets.length, client.state], [4, 'connecting'])
})
