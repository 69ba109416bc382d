import t from 'tap'
import { closeCodes } from '../../../lib/protocol/codes.js'
import { clientOn, connected, FakePage, settled, toldOf } from '../../support/fake-page.js'

t.test('it connects to the page\'s own host, and says who it is', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { userId: 'u', sessionId: 's' })
  t.same([client.state, client.userId, page.sockets.length], ['idle', 'u', 0], 'nothing happens before it is asked')
  client.connect()
  t.equal(page.socket.url.href, 'wss://app.example/ws?userId=u&sessionId=s')
  t.same(page.socket.protocols, ['ai-canvas.v1'])
  t.equal(client.state, 'connecting')
})

t.test('a URL may be a path, http, or hold a query of its own', async (t) => {
  for (const [url, expected] of [
    ['/live', 'wss://app.example/live'],
    ['http://other.example/ws', 'ws://other.example/ws'],
    ['https://other.example/ws', 'wss://other.example/ws'],
    ['ws://other.example/ws?tenant=7', 'ws://other.example/ws?tenant=7']
  ] as const) {
    const page = new FakePage()
    clientOn(page, { url }).connect()
    t.equal(page.socket.url.href, expected)
  }
})

t.test('outside of a browser a missing URL or WebSocket is an error that names the option', async (t) => {
  const nowhere = Object.assign(new FakePage(), { pageUrl: undefined })
  t.throws(() => { clientOn(nowhere).connect() }, { code: 'no_url', message: /"url"/ })
  const client = clientOn(Object.assign(new FakePage(), { WebSocket: undefined }))
  for (const act of [() => { client.connect() }, () => { client.subscribe('s') }, () => { client.send({ type: 'ping' }) }]) {
    t.throws(act, { name: 'ClientError', code: 'no_websocket', message: /"WebSocket"/ })
  }
  const { WebSocket, sockets } = new FakePage()
  clientOn(Object.assign(new FakePage(), { WebSocket: undefined }), { WebSocket }).connect()
  t.equal(sockets.length, 1, 'a given one is taken')
})

t.test('connected is a client that has got `connection`, not one whose socket is open', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  client.connect()
  t.same([page.sockets.length, client.state, client.connection], [1, 'connecting', undefined])
  page.socket.admit({ clientId: 'client_1' })
  client.connect()
  t.same([page.sockets.length, client.state, client.reason], [1, 'connected', undefined])
  t.equal(client.connection?.clientId, 'client_1')
  t.same(client.told.map(([type]) => type), ['state', 'state', 'message', 'open'])
})

t.test('an attempt that gets no `connection` in time is given up, and the next one made', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  page.clock.advance(9999)
  t.equal(client.state, 'connecting')
  page.clock.advance(1)
  t.same([client.state, client.reason, page.socket.closedWith], ['waiting', 'timeout', 1000])
  t.match(toldOf(client, 'error'), [{ code: 'connection_failed' }])
  page.clock.advance(1500)
  t.same([client.state, page.sockets.length], ['connecting', 2])
})

t.test('what the abandoned socket still says is not heard', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  page.clock.advance(10_000)
  page.sockets[0]!.admit()
  page.sockets[0]!.end()
  t.equal(client.state, 'waiting')
})

t.test('a URL that can\'t be opened is an error, and the end', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { url: 'ws://[' })
  client.connect()
  t.same([client.state, client.reason, page.sockets.length], ['closed', 'refused', 0])
  t.match(toldOf(client, 'error'), [{ code: 'connection_failed' }])
})

// ---- coming back

t.test('attempts go with doubling, jittered times, and end after the last', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { maxReconnectAttempts: 3 })
  client.connect()
  page.randoms = [0.5, 0.25, 1]
  const waits: number[] = []
  for (;;) {
    page.socket.end()
    if (client.state === 'closed') break
    const before = page.clock.monotonic()
    while (client.state === 'waiting') page.clock.advance(250)
    waits.push(page.clock.monotonic() - before)
  }
  t.same(waits, [1500, 1500, 12_000])
  t.same([client.reason, page.sockets.length, client.metrics.reconnectAttempts], ['attempts', 4, 3])
  t.equal(page.clock.pending, 0)
})

t.test('by default it tries ten times, three seconds being the base of the times between', async (t) => {
  const page = new FakePage()
  page.randoms = [1 - Number.EPSILON]
  const client = clientOn(page)
  client.connect()
  const waits: number[] = []
  for (;;) {
    page.socket.end()
    if (client.state === 'closed') break
    const from = page.clock.monotonic()
    while (client.state === 'waiting') page.clock.advance(500)
    waits.push((page.clock.monotonic() - from) / 1000)
  }
  t.same(waits, [3, 6, 12, 24, 30, 30, 30, 30, 30, 30])
  t.equal(client.reason, 'attempts')
})

t.test('only a `connection` message makes the attempts start anew', async (t) => {
  const page = new FakePage()
  const client = connected(page, { maxReconnectAttempts: 2 })
  for (let i = 0; i < 5; i++) {
    page.socket.end()
    page.clock.advance(1500)
    page.socket.end()
    page.clock.advance(3000)
    t.equal(page.socket.query.attempt, String((i + 1) * 2))
    page.socket.admit()
  }
  t.match(client.metrics, { reconnects: 5, reconnectAttempts: 10 })
  for (const ms of [1500, 3000, 0]) {
    page.socket.end()
    page.clock.advance(ms)
  }
  t.equal(client.reason, 'attempts')
})

t.test('`reconnect: false` and no attempts at all are obeyed', async (t) => {
  for (const [options, reason] of [[{ reconnect: false }, 'disabled'], [{ maxReconnectAttempts: 0 }, 'attempts']] as const) {
    const page = new FakePage()
    const client = connected(page, options)
    page.socket.end()
    t.same([client.state, client.reason], ['closed', reason])
  }
})

t.test('every close code is obeyed as the table says', async (t) => {
  for (const { code, reason, reconnect } of Object.values(closeCodes)) {
    const page = new FakePage()
    const client = clientOn(page, { getToken: () => 'x' })
    client.connect()
    await settled()
    page.socket.admit()
    page.socket.end(code, reason)
    t.match(toldOf(client, 'close'), [{ code, reason, wasConnected: true }], `${code}`)
    t.same([client.state, client.reason], reconnect === 'never' ? ['closed', 'refused'] : ['waiting', 'lost'], `${code}`)
    const before = page.clock.monotonic()
    while (client.state === 'waiting') page.clock.advance(250)
    const expected = { never: 0, soon: 500, backoff: 1500, later: 22_500, 'fresh-token': 250 }[reconnect]
    t.equal(page.clock.monotonic() - before, expected, `${code} ${reconnect}`)
  }
})

t.test('after 1008 it comes back once with a fresh token, then never', async (t) => {
  const page = new FakePage()
  let asked = 0
  const client = clientOn(page, { getToken: async () => `token ${++asked}` })
  client.connect()
  await settled()
  page.socket.end(1008, 'Unauthorized')
  t.equal(client.state, 'waiting')
  page.clock.advance(0)
  await settled()
  t.same([page.sockets.length, asked], [2, 2])
  page.socket.end(1008, 'Unauthorized')
  t.same([client.state, client.reason], ['closed', 'refused'])
  page.wake('online')
  page.clock.advance(100_000)
  t.equal(page.sockets.length, 2)
})

t.test('without `getToken` there is no fresh token to come back with', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.end(1008, 'Unauthorized')
  t.same([client.state, client.reason], ['closed', 'refused'])
})

t.test('a listener that closes the client while it connects gets its way', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.on('state', ({ state }) => { if (state === 'connecting') client.close() })
  client.connect()
  t.same([client.state, page.sockets.length, page.clock.pending], ['closed', 0, 0])
})

// ---- half-open sockets

t.test('it says nothing while messages come, and after 30 s of silence asks once whether anybody is there', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  for (let i = 0; i < 10; i++) {
    page.clock.advance(20_000)
    page.socket.say({ type: 'news' })
  }
  t.same(page.socket.types, [])
  page.clock.advance(30_000)
  t.same(page.socket.types, ['ping'])
  page.clock.advance(40)
  page.socket.say({ type: 'pong' })
  t.match(client.metrics, { latency: 40, averageLatency: 40 })
  page.clock.advance(29_999)
  t.same(page.socket.types, ['ping'])
  page.clock.advance(1)
  page.clock.advance(60)
  page.socket.say({ type: 'pong' })
  t.match(client.metrics, { latency: 60, averageLatency: 50, messagesSent: 2, messagesReceived: 13 })
  t.equal(client.state, 'connected')
})

t.test('any message is an answer', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.clock.advance(34_000)
  page.socket.say({ type: 'news' })
  page.clock.advance(5000)
  t.equal(client.state, 'connected')
})

t.test('a socket that does not answer is replaced without waiting for its close', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.clock.advance(34_999)
  t.equal(client.state, 'connected')
  page.clock.advance(1)
  t.same([client.state, client.reason, page.sockets[0]!.closedWith], ['waiting', 'silent', 1000])
  page.clock.advance(500)
  t.same([client.state, page.sockets.length], ['connecting', 2])
  page.socket.admit()
  page.sockets[0]!.end()
  page.sockets[0]!.say({ type: 'ghost' })
  t.equal(client.state, 'connected')
  t.notOk(toldOf(client, 'message').some(({ type }) => type === 'ghost'))
})

t.test('a line on which a long message is arriving is not silent', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  const large = { type: 'large_message', bytes: 800_000, timestamp: 't' }
  page.clock.advance(1_000)
  page.socket.say(large)
  t.same(toldOf(client, 'message'), [], 'nobody is told of that')
  page.clock.advance(99_000)
  t.same(page.socket.types, [], 'at 8 KB a second it takes 100 s')
  page.socket.say({ type: 'ai_complete', timestamp: 't' })
  page.clock.advance(30_000)
  t.equal(client.state, 'connected')
  page.clock.advance(10_000)
  t.ok(toldOf(client, 'state').some(({ reason }) => reason === 'silent'), 'afterwards silence is silence')

  await t.test('but one on which it does not arrive is', async (t) => {
    const page = new FakePage()
    const client = connected(page)
    page.socket.say(large)
    page.clock.advance(134_999)
    t.equal(client.state, 'connected')
    page.clock.advance(1)
    t.equal(client.reason, 'silent')
  })

  await t.test('when it is asked on waking up it may answer behind that message', async (t) => {
    const page = new FakePage()
    const client = connected(page)
    page.socket.say(large)
    page.clock.advance(50_000)
    page.wake('visible')
    t.same(page.socket.types, ['ping'])
    page.clock.advance(54_999)
    t.equal(client.state, 'connected')
    page.clock.advance(1)
    t.equal(client.reason, 'silent')
  })
})

t.test('a pong that nobody waits for is no round trip', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.say({ type: 'pong' })
  t.match(client.metrics, { latency: undefined, averageLatency: undefined })
})

// ---- the end

t.test('an explicit close is the end', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  client.close()
  client.close()
  t.same([client.state, client.reason, page.socket.closedWith, page.isWatched], ['closed', 'called', 1000, false])
  t.match(toldOf(client, 'close'), [{ code: 1000, wasConnected: true }])
  t.same(toldOf(client, 'error'), [])
  page.wake('online')
  page.clock.advance(100_000)
  t.same([page.sockets.length, page.clock.pending], [1, 0])
  t.throws(() => { client.send({ type: 'hello' }) }, { code: 'closed' })
  client.connect()
  t.equal(page.sockets.length, 2, 'connect begins anew')
})

t.test('closing before it ever connected, or while it waits, is quiet', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.close()
  t.same([client.state, toldOf(client, 'close')], ['closed', []])
  client.connect()
  page.socket.end()
  client.told.length = 0
  client.close()
  t.same(client.told, [['state', { state: 'closed', reason: 'called' }]])
})
