import t from 'tap'
import { closeCodes } from '../../../lib/protocol/codes.js'
import { clientOn, connected, FakePage, settled, toldOf } from '../../support/fake-page.js'

t.test('a client connects to the page\'s host with its ids in the query', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { userId: 'u', sessionId: 's' })
  t.same([client.state, client.userId, page.sockets.length], ['idle', 'u', 0], 'no connection before it is needed')
  client.connect()
  t.equal(page.socket.url.href, 'wss://app.example/ws?userId=u&sessionId=s')
  t.same(page.socket.protocols, ['ai-canvas.v1'])
  t.equal(client.state, 'connecting')
})

t.test('a URL may be a path, use http, or have a query of its own', async (t) => {
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

t.test('outside a browser a missing URL or WebSocket is an error that names the option', async (t) => {
  const nowhere = Object.assign(new FakePage(), { pageUrl: undefined })
  t.throws(() => { clientOn(nowhere).connect() }, { code: 'no_url', message: /"url"/ })
  const client = clientOn(Object.assign(new FakePage(), { WebSocket: undefined }))
  for (const act of [() => { client.connect() }, () => { client.subscribe('s') }, () => { client.send({ type: 'ping' }) }]) {
    t.throws(act, { name: 'ClientError', code: 'no_websocket', message: /"WebSocket"/ })
  }
  const { WebSocket, sockets } = new FakePage()
  clientOn(Object.assign(new FakePage(), { WebSocket: undefined }), { WebSocket }).connect()
  t.equal(sockets.length, 1, 'the option is used')
})

t.test('a client is connected when `connection` arrives, not when the socket opens', async (t) => {
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

t.test('an attempt without a `connection` message times out, and the next one begins', async (t) => {
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

t.test('events of an abandoned socket are ignored', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.connect()
  page.clock.advance(10_000)
  page.sockets[0]!.admit()
  page.sockets[0]!.end()
  t.equal(client.state, 'waiting')
})

t.test('a URL that can\'t be opened is an error, and the client stops', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { url: 'ws://[' })
  client.connect()
  t.same([client.state, client.reason, page.sockets.length], ['closed', 'refused', 0])
  t.match(toldOf(client, 'error'), [{ code: 'connection_failed' }])
})

// ---- reconnecting

t.test('attempts have doubling, jittered delays and stop after the last one', async (t) => {
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

t.test('by default there are ten attempts with a base delay of three seconds', async (t) => {
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

t.test('only a `connection` message resets the number of attempts', async (t) => {
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

t.test('`reconnect: false` and `maxReconnectAttempts: 0` prevent reconnects', async (t) => {
  for (const [options, reason] of [[{ reconnect: false }, 'disabled'], [{ maxReconnectAttempts: 0 }, 'attempts']] as const) {
    const page = new FakePage()
    const client = connected(page, options)
    page.socket.end()
    t.same([client.state, client.reason], ['closed', reason])
  }
})

t.test('the client follows the table of close codes', async (t) => {
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

t.test('after 1008 the client reconnects once with a fresh token, then not again', async (t) => {
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

t.test('without `getToken` there is no reconnect after 1008', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.end(1008, 'Unauthorized')
  t.same([client.state, client.reason], ['closed', 'refused'])
})

t.test('a listener may close the client while it connects', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.on('state', ({ state }) => { if (state === 'connecting') client.close() })
  client.connect()
  t.same([client.state, page.sockets.length, page.clock.pending], ['closed', 0, 0])
})

// ---- half-open sockets

t.test('the client sends no pings while messages arrive, and one ping after 30 s of silence', async (t) => {
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

t.test('any message counts as a reply to the ping', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.clock.advance(34_000)
  page.socket.say({ type: 'news' })
  page.clock.advance(5000)
  t.equal(client.state, 'connected')
})

t.test('an unresponsive socket is replaced without waiting for its close', async (t) => {
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

t.test('a connection does not count as silent while a large message arrives', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  const large = { type: 'large_message', bytes: 800_000, timestamp: 't' }
  page.clock.advance(1_000)
  page.socket.say(large)
  t.same(toldOf(client, 'message'), [], 'the announcement is not emitted')
  page.clock.advance(99_000)
  t.same(page.socket.types, [], 'at 8 KB per second it takes 100 s')
  page.socket.say({ type: 'ai_complete', timestamp: 't' })
  page.clock.advance(30_000)
  t.equal(client.state, 'connected')
  page.clock.advance(10_000)
  t.ok(toldOf(client, 'state').some(({ reason }) => reason === 'silent'), 'afterwards silence counts again')

  await t.test('it counts as silent if the large message does not arrive', async (t) => {
    const page = new FakePage()
    const client = connected(page)
    page.socket.say(large)
    page.clock.advance(134_999)
    t.equal(client.state, 'connected')
    page.clock.advance(1)
    t.equal(client.reason, 'silent')
  })

  await t.test('the reply to a probe after a wake-up may arrive after that message', async (t) => {
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

t.test('an unexpected pong is not measured as a round trip', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.say({ type: 'pong' })
  t.match(client.metrics, { latency: undefined, averageLatency: undefined })
})

// ---- closing

t.test('after an explicit close the client does not reconnect', async (t) => {
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
  t.equal(page.sockets.length, 2, '`connect` starts again')
})

t.test('closing before the first connection or while waiting emits no error', async (t) => {
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
