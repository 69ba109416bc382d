import t from 'tap'
import { clientOn, connected, FakePage, settled, toldOf } from '../../support/fake-page.js'

// The client's behaviour when the page comes online, becomes visible or wakes up.

t.test('when the page comes online or becomes visible, the client reconnects immediately with a reset backoff', async (t) => {
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
    t.equal(page.sockets.length, 4, 'with the first, short delay')
  }
})

t.test('it does not reconnect early if the server asked for time', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.end(1013, 'Try again later')
  page.wake('visible')
  t.equal(client.state, 'waiting')
})

t.test('after all attempts are used up, coming online or becoming visible starts them again', async (t) => {
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

t.test('when the network returns, an attempt that began on the old one is replaced', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  page.wake('visible')
  t.equal(page.sockets.length, 1)
  page.wake('online')
  t.same([page.sockets.length, page.sockets[0]!.closedWith, client.state], [2, 1000, 'connecting'])
})

t.test('after a sleep or a change of network, the client probes the connection', async (t) => {
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

// ---- a connection lost during sleep

t.test('a connection that ends soon after a wake-up was lost during sleep: the client reconnects immediately', async (t) => {
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

t.test('it reconnects immediately after an unanswered probe', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.wake('visible')
  page.clock.advance(4999)
  t.equal(client.state, 'connected')
  page.clock.advance(1)
  t.match(toldOf(client, 'state'), [{ state: 'waiting', reason: 'silent' }, { state: 'connecting' }])
})

t.test('messages that arrived before the sleep do not prove that the connection works', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.wake('visible')
  page.socket.say({ type: 'news' })
  page.socket.end()
  page.clock.advance(0)
  t.equal(client.state, 'connecting')
})

t.test('it reconnects immediately once per wake-up', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.wake('visible')
  page.socket.end()
  page.clock.advance(0)
  page.socket.end()
  page.clock.advance(1499)
  t.equal(client.state, 'waiting', 'that attempt failed: the normal backoff')
  page.clock.advance(1)
  t.equal(client.state, 'connecting', 'from its first step')
  page.socket.admit()
  page.socket.end()
  page.clock.advance(1499)
  t.equal(client.state, 'waiting', 'the same after the next connection, even if it ends within five seconds')
  page.clock.advance(1)
  page.socket.admit()
  t.equal(client.state, 'connected')
  page.wake('visible')
  page.socket.end()
  page.clock.advance(0)
  t.equal(client.state, 'connecting', 'until the next wake-up')
})

t.test('a connection that ends later was not lost during sleep', async (t) => {
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

t.test('it does not reconnect immediately if the close code forbids it or there is no network', async (t) => {
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

t.test('an attempt that was in progress when the page fell asleep is repeated immediately', async (t) => {
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

// ---- repeated events

t.test('a network that comes online every 150 ms does not prevent a handshake of 200 ms', async (t) => {
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
    t.equal(asked, 2, 'the first event replaced the attempt')
    t.equal(page.sockets.filter(({ closedWith }) => closedWith === undefined).length, 1)
  }
})

t.test('if the network comes online while `getToken` is pending, it is called once more and the late result is ignored', async (t) => {
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
