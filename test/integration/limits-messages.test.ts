import fastifyWebsocket from '@fastify/websocket'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions } from 'ai-canvas-ws'
import { deferred } from '../examples/support/deferred.js'
import { startApp, withoutPings } from '../support/app.js'
import { clientFrame, CLOSE, CONTINUATION, FIN, PING, readClose, TEXT, textFrame } from '../support/client-frames.js'
import { RawClient } from '../support/raw-client.js'
import { until } from '../support/until.js'
import { connect, open, type TestClient } from '../support/ws-client.js'

const MiB = 1024 * 1024
const plain = { perMessageDeflate: false }
const flooded = { code: 4001, reason: 'Rate limit exceeded' }

/** A message of this length on the wire that is not in the protocol. */
const messageOf = (bytes: number): string => `{"type":"mine","filling":"${'x'.repeat(bytes - 28)}"}`

async function connectRaw (t: Test, url: string): Promise<RawClient> {
  const peer = new RawClient(t, url)
  t.match(await next(peer), { type: 'connection' })
  return peer
}

async function next (peer: RawClient): Promise<{ type: string }> {
  return JSON.parse((await peer.frame()).payload.toString()) as { type: string }
}

/** Sends the header of a message with this length. Returns the close code, or that there was none. */
async function claim (t: Test, options: AiCanvasWsOptions, length: number): Promise<number | 'waits'> {
  const { app, url } = await startApp(t, options)
  const peer = await connectRaw(t, url('?sessionId=s1'))
  const other = await connect(t, url())
  peer.socket.write(clientFrame(FIN | TEXT, '', { length }))
  // The server's reply, if any, comes before messages that are sent after it had every chance to read the header.
  for (let i = 0; i < 20; i++) await other.sync()
  await app.wsManager.notifyAIStart('s1', {})
  const frame = await peer.frame()
  return frame.first === (FIN | CLOSE) ? readClose(frame).code : 'waits'
}

t.test('a message of 64 KiB is accepted, and one byte more is closed with 1009, which the client sees', async (t) => {
  const { url } = await startApp(t)
  t.equal(messageOf(100).length, 100)
  const client = await connect(t, url(), plain)
  client.send(messageOf(64 * 1024))
  t.match(await client.next(), { type: 'error', code: 'unknown_type' })
  client.send(messageOf(64 * 1024 + 1))
  t.match(await client.closed, { code: 1009 })
})

t.test('a message that is short on the wire but too long when inflated is closed too', async (t) => {
  const { url } = await startApp(t)
  const client = await connect(t, url())
  t.equal(client.ws.extensions, 'permessage-deflate')
  client.send(messageOf(64 * 1024 + 1))
  t.match(await client.closed, { code: 1009 })
})

t.test('fragments of a message count together', async (t) => {
  const { url } = await startApp(t)
  const peer = await connectRaw(t, url())
  peer.socket.write(clientFrame(TEXT, 'x'.repeat(40_000)))
  peer.socket.write(clientFrame(CONTINUATION, 'x'.repeat(40_000)))
  t.match(readClose(await peer.frame()), { code: 1009 })
})

t.test('a message is refused when its length is announced, before its first byte is sent', async (t) => {
  const onMessage = (): void => { /* accepts everything */ }
  t.equal(await claim(t, {}, 64 * 1024), 'waits')
  t.equal(await claim(t, {}, 64 * 1024 + 1), 1009)
  t.equal(await claim(t, { onMessage }, 100 * MiB), 'waits', 'with onMessage the limit is the documented 100 MiB')
  t.equal(await claim(t, { onMessage }, 100 * MiB + 1), 1009)
  t.equal(await claim(t, { onMessage, websocket: { maxPayload: 1000 } }, 1001), 1009, 'the app\'s own limit has precedence')
  t.equal(await claim(t, { websocket: { maxPayload: 200 * MiB } }, 200 * MiB), 'waits', 'in either direction')
  t.equal(await claim(t, { websocket: {} }, 64 * 1024 + 1), 1009, 'other options change nothing')
})

t.test('an app with onMessage receives long messages', async (t) => {
  const got = deferred<number>()
  const { url } = await startApp(t, { onMessage: ({ filling }) => { got.resolve((filling as string).length) } })
  const client = await connect(t, url(), plain)
  client.send(messageOf(8 * MiB))
  t.equal(await got.promise, 8 * MiB - 28)
})

t.test('after 1009 no connection is left, and others are not affected', async (t) => {
  const { app, url } = await startApp(t)
  const other = await connect(t, url('?sessionId=s1'))
  const client = await connect(t, url('?sessionId=s1'), plain)
  client.send(messageOf(MiB))
  await client.closed
  await until(() => app.wsManager.getStats().totalConnections === 1)
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 1 })
  t.match(await other.next(), { type: 'ai_start' })
})

t.test('a flood is answered with an error, and closed with a code that asks for a later reconnect', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url())
  for (let i = 0; i < 2000; i++) client.send({ type: 'ping' })
  t.same(await client.closed, flooded)
  const answers = client.waiting
  const pongs = answers.filter(({ type }) => type === 'pong').length
  t.ok(pongs >= 100 && pongs < 200, `the burst is answered, but not the flood: ${pongs}`)
  t.match(answers.at(-1), { type: 'error', code: 'rate_limited' })
  t.equal(answers.length, pongs + 1)
  t.match(app.wsManager.getMetrics(), { errors: { rate_limited: 1 }, closes: { rateLimited: 1 } })
})

t.test('invalid messages count as well', async (t) => {
  const floods: Record<string, (client: TestClient) => void> = {
    'no JSON': (client) => { client.send('{') },
    'binary': (client) => { client.ws.send(Buffer.alloc(1)) },
    'unknown types': (client) => { client.send({ type: 'x' }) },
    'bad ids': (client) => { client.send({ type: 'subscribe', sessionId: '' }) },
    'empty messages': (client) => { client.send('') },
    'unsubscribes': (client) => { client.send({ type: 'unsubscribe', sessionId: 'x' }) }
  }
  for (const [name, send] of Object.entries(floods)) {
    const { url } = await startApp(t)
    const client = await connect(t, url())
    for (let i = 0; i < 500; i++) send(client)
    t.same(await client.closed, flooded, name)
    t.ok(client.received.length < 210, name)
  }
})

t.test('a flood does not delay other clients', async (t) => {
  const { app, url } = await startApp(t)
  const quiet = await connect(t, url('?sessionId=s1'))
  const loud = await connect(t, url('?sessionId=s1'))
  for (let i = 0; i < 2000; i++) loud.send({ type: 'ping' })
  await app.wsManager.notifyAIStart('s1', {})
  t.match(await quiet.next(), { type: 'ai_start' })
  t.same(await loud.closed, flooded)
  t.same(await quiet.sync(), [])
})

t.test('a steady rate within the limit is not a flood', async (t) => {
  const { url } = await startApp(t, { limits: { messagesPerSecond: 1000, burst: 2 } })
  const client = await connect(t, url())
  const until = performance.now() + 300
  let sent = 0
  while (performance.now() < until) {
    // The duration of a round trip is unknown. The limit refills by one message per millisecond.
    await new Promise((resolve) => { setTimeout(resolve, 3) })
    t.same(await client.sync(), [])
    sent++
  }
  t.ok(sent > 2, 'more than the burst')
})

t.test('a flood of ping frames ends the connection, and occasional ones are answered', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url())
  client.ws.ping('here')
  t.equal(await new Promise((resolve) => { client.ws.on('pong', (payload: Buffer) => { resolve(payload.toString()) }) }), 'here')
  for (let i = 0; i < 300; i++) {
    if (client.ws.readyState !== client.ws.OPEN) break
    client.ws.ping()
    await new Promise((resolve) => { setImmediate(resolve) })
  }
  t.match(await client.closed, { code: 4001 })

  const peer = await connectRaw(t, url())
  const pings = Buffer.concat(Array.from({ length: 100_000 }, () => clientFrame(FIN | PING, 'x'.repeat(125))))
  peer.socket.write(pings)
  await peer.closed
  t.ok(peer.socket.bytesRead < pings.length / 10, 'not all are answered')
  await until(() => app.wsManager.getStats().totalConnections === 0)
})

t.test('the client is told the maximum size of a message', async (t) => {
  const onMessage = (): void => { /* accepts everything */ }
  const told = async (options: AiCanvasWsOptions, theirs?: number): Promise<unknown> => {
    const { url } = await startApp(t, options, {}, async (app) => {
      if (theirs !== undefined) await app.register(fastifyWebsocket, { options: { maxPayload: theirs } })
    })
    const { limits } = await open(t, url()).next() as unknown as { limits: { messageBytes?: number } }
    return limits.messageBytes
  }
  t.equal(await told({}), 64 * 1024)
  t.equal(await told({ onMessage }), 100 * MiB)
  t.equal(await told({ onMessage, websocket: { maxPayload: 1000 } }), 1000)
  t.equal(await told({ websocket: { maxPayload: 0 } }), undefined)
  t.equal(await told({}, 5000), 5000, 'the app\'s limit, if it registered @fastify/websocket itself')
})

t.test('one message subscribes to 250 sessions', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url())
  const ids = Array.from({ length: 250 }, (_, at) => `s${at}`)
  client.send({ type: 'subscribe', sessions: ids.map((sessionId) => ({ sessionId })) })
  for (const sessionId of ids) t.match(await client.next(), { type: 'subscribed', sessionId })
  t.match(await app.wsManager.notifyAIStart('s249', {}), { recipients: 1 })
  t.match(await client.next(), { type: 'ai_start', sessionId: 's249' })
  client.send({ type: 'unsubscribe', sessions: ids })
  for (const sessionId of ids) t.match(await client.next(), { type: 'unsubscribed', sessionId })
  t.match(await app.wsManager.notifyAIStart('s249', {}), { recipients: 0 })
})

t.test('thousands of subscribes: up to the limit of sessions, then too_many_sessions, then a flood', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url())
  for (let i = 0; i < 3000; i++) client.send({ type: 'subscribe', sessionId: `s${i}` })
  t.same(await client.closed, flooded)
  const answers = client.waiting
  const count = (wanted: string): number => answers.filter(({ type, code }) => (code ?? type) === wanted).length
  t.equal(count('subscribed'), 250)
  t.ok(count('too_many_sessions') >= 100, 'those above the limit are refused')
  t.equal(count('rate_limited'), 1)
  t.ok(answers.length < 550, `the flood is not answered to its end: ${answers.length}`)
  await until(() => app.wsManager.getStats().totalConnections === 0)
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 0 })
})

t.test('a client at the limit of sessions stays connected, and has room again after an unsubscribe', async (t) => {
  const { url } = await startApp(t, { limits: { sessionsPerConnection: 2 } })
  const client = await connect(t, url('?sessionId=s1'))
  const ask = async (sessionId: string): Promise<object> => {
    client.send({ type: 'subscribe', sessionId })
    return client.next()
  }
  t.match(await ask('s2'), { type: 'subscribed' })
  t.match(await ask('s3'), { type: 'error', code: 'too_many_sessions', sessionId: 's3' })
  t.match(await ask('s1'), { type: 'subscribed' }, 'resubscribing does not count twice')
  client.send({ type: 'unsubscribe', sessionId: 's2' })
  t.match(await client.next(), { type: 'unsubscribed' })
  t.match(await ask('s3'), { type: 'subscribed' })
})

t.test('resubscribing to 250 sessions after a disconnect is within the limits, and so are further messages', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s0'))
  for (let i = 0; i < 250; i++) client.send({ type: 'subscribe', sessionId: `s${i}` })
  for (let i = 0; i < 250; i++) t.match(await client.next(), { type: 'subscribed', sessionId: `s${i}` })
  for (let i = 0; i < 90; i++) client.send({ type: 'ping' })
  for (let i = 0; i < 90; i++) t.match(await client.next(), { type: 'pong' })
  t.match(app.wsManager.getMetrics(), { errors: {}, closes: {} })
})

t.test('subscribing to one session repeatedly while it is being authorized keeps one call pending', async (t) => {
  let open = 0
  let most = 0
  const { url } = await startApp(t, {
    authenticate: () => ({ userId: 'user_1' }),
    authorize: async () => {
      most = Math.max(most, ++open)
      await new Promise((resolve) => { setImmediate(resolve) })
      open--
      return true
    }
  })
  const client = await connect(t, url())
  for (let i = 0; i < 50; i++) client.send({ type: 'subscribe', sessionId: 's1' })
  for (let i = 0; i < 50; i++) t.match(await client.next(), { type: 'subscribed', sessionId: 's1' })
  t.same(await client.sync(), [], 'each is answered once')
  t.equal(most, 1)
})

t.test('data that is not a WebSocket frame is closed with the matching code, and the server continues', async (t) => {
  const wrong: Array<[string, Buffer, number]> = [
    ['a frame without a mask', clientFrame(FIN | TEXT, '{"type":"ping"}', { masked: false }), 1002],
    ['a reserved opcode', clientFrame(FIN | 0x3, 'x'), 1002],
    ['a reserved bit', clientFrame(FIN | 0x20 | TEXT, 'x'), 1002],
    ['a continuation of nothing', clientFrame(FIN | CONTINUATION, 'x'), 1002],
    ['a message inside another', Buffer.concat([clientFrame(TEXT, 'x'), textFrame('y')]), 1002],
    ['a control frame in pieces', clientFrame(PING, 'x'), 1002],
    ['a control frame that is too long', clientFrame(FIN | PING, 'x'.repeat(126)), 1002],
    ['a close frame with half a code', clientFrame(FIN | CLOSE, 'x'), 1002],
    ['a close frame with a code that nobody may send', clientFrame(FIN | CLOSE, Buffer.from([0x03, 0xee])), 1002],
    ['deflated where that was not agreed on', clientFrame(FIN | 0x40 | TEXT, 'x'), 1002],
    ['text that is not UTF-8', clientFrame(FIN | TEXT, Buffer.from([0x7b, 0xff, 0xfe, 0x7d])), 1007],
    ['half a surrogate pair', clientFrame(FIN | TEXT, Buffer.from([0xed, 0xa0, 0x80])), 1007],
    ['a length that nothing can have', clientFrame(FIN | TEXT, '', { length: 2 ** 53 }), 1009],
    ['a second HTTP request', Buffer.from('GET /api/ws/stats HTTP/1.1\r\nHost: x\r\n\r\n'), 1002],
    ['zeros', Buffer.alloc(64), 1002],
    ['noise', Buffer.from([0xff, 0xff, 0xff, 0xff]), 1002]
  ]
  const { app, url } = await startApp(t)
  const other = await connect(t, url())
  for (const [name, bytes, code] of wrong) {
    const peer = await connectRaw(t, url())
    peer.socket.write(bytes)
    t.match(readClose(await peer.frame()), { code }, name)
    peer.socket.end()
    await peer.closed
  }
  await until(() => app.wsManager.getStats().totalConnections === 1)
  t.same(await other.sync(), [])
})

t.test('invalid compressed data is closed, and the server continues', async (t) => {
  const { app, url } = await startApp(t)
  const peer = new RawClient(t, url(), { extensions: 'permessage-deflate; client_max_window_bits' })
  t.match(await peer.answer, /permessage-deflate/)
  t.match(await next(peer), { type: 'connection' })
  peer.socket.write(clientFrame(FIN | 0x40 | TEXT, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x00])))
  t.match(readClose(await peer.frame()), { code: 1007 })
  peer.socket.end()
  await until(() => app.wsManager.getStats().totalConnections === 0)
})

t.test('a peer that stops in the middle of a frame is still served, and removed when it disconnects', async (t) => {
  const { app, url } = await startApp(t)
  for (const part of [textFrame({ type: 'ping' }).subarray(0, 1), textFrame({ type: 'ping' }).subarray(0, 9), clientFrame(TEXT, '{"type":')]) {
    const peer = await connectRaw(t, url('?sessionId=s1'))
    peer.socket.write(part)
    await app.wsManager.notifyAIStart('s1', {})
    t.match(await next(peer), { type: 'ai_start' })
    peer.socket.destroy()
    await until(() => app.wsManager.getStats().totalConnections === 0)
  }
})

t.test('a peer that only ever begins frames is terminated by the heartbeat: an incomplete frame is no sign of life', async (t) => {
  const { app, url } = await startApp(t, { heartbeatIntervalMs: 100 })
  const peer = await connectRaw(t, url())
  const dripping = setInterval(() => { peer.socket.write(clientFrame(CONTINUATION, '')) }, 10)
  t.teardown(() => { clearInterval(dripping) })
  peer.socket.write(clientFrame(TEXT, '{'))
  await peer.closed
  t.equal(app.wsManager.getStats().totalConnections, 0)
})

t.test('a message with an unreasonable number of fragments is closed, even without a rate limit', async (t) => {
  const { url } = await startApp(t, { limits: { burst: Infinity } })
  const peer = await connectRaw(t, url())
  peer.socket.write(Buffer.concat([clientFrame(TEXT, 'x'), ...Array.from({ length: 40_000 }, () => clientFrame(CONTINUATION, 'x'))]))
  t.match(readClose(await peer.frame()), { code: 1008 })
})

t.test('an invalid query is closed with 4500 and a reason that says what is wrong', async (t) => {
  const { url } = await startApp(t)
  const bad: Array<[string, RegExp]> = [
    ['?sessionId=a&sessionId=b', /sessionId is given more than once/],
    ['?userId=a&userId=a', /userId is given more than once/],
    ['?sessionId=', /sessionId must be 1 to 256 characters/],
    ['?userId=', /userId must be 1 to 256 characters/],
    ['?sessionId', /sessionId must be/],
    [`?sessionId=${'x'.repeat(257)}`, /sessionId must be/],
    [`?userId=${'x'.repeat(10_000)}`, /userId must be/],
    ['?sessionId=a%00b', /none of them a control character/],
    ['?sessionId=a%0d%0aSet-Cookie:x', /none of them a control character/],
    ['?userId=%7f', /none of them a control character/],
    ['?userId=%c2%85', /none of them a control character/],
    [`?sessionId=${'%F0%9F%98%80'.repeat(257)}`, /sessionId must be/]
  ]
  for (const [query, reason] of bad) {
    const client = open(t, url(query))
    t.match(await client.closed, { code: 4500, reason }, query.slice(0, 40))
    t.same(client.received, [])
  }
})

t.test('unusual but valid ids are accepted unchanged', async (t) => {
  const { app, url } = await startApp(t)
  for (const id of ['x'.repeat(256), '😀'.repeat(128), '__proto__', 'constructor', 'toString', '../..', '<b>', '"', '{}', 'null', ' ', 'a&b=c', '日本語', '%']) {
    const client = await connect(t, url(`?sessionId=${encodeURIComponent(id)}&userId=${encodeURIComponent(id)}`))
    t.match(app.wsManager.getStats({ userId: id }), { clients: [{ userId: id, sessionId: id }] }, id.slice(0, 20))
    await app.wsManager.notifyAIStart(id, {})
    t.match(await client.next(), { type: 'ai_start', sessionId: id })
    await client.close()
    await until(() => app.wsManager.getStats().totalConnections === 0)
  }
})

t.test('unknown query parameters have no effect', async (t) => {
  const { app, url } = await startApp(t, withoutPings)
  for (const query of ['?', '?&&&', '?=', '?__proto__=x', '?__proto__[userId]=x', '?constructor[prototype][userId]=x', '?sessionId[]=a', '?%', '?%E0%A4%A', '?attempt=Infinity&attempt=2']) {
    const { clientId } = await connect(t, url(query))
    const [client] = app.wsManager.getStats().clients.filter(({ id }) => id === clientId)
    t.same(client, { id: clientId, isAlive: true, state: 1 }, query)
  }
  t.notOk('userId' in {}, 'no prototype was modified')
})

t.test('a message in many small fragments is a flood; one in a few or in large fragments is not', async (t) => {
  const { url } = await startApp(t, { limits: { burst: 50, messagesPerSecond: 0.001 }, onMessage: (_message, client) => { client.send({ type: 'taken' }) } })
  const inFragments = (message: object, count: number): Buffer => {
    const text = JSON.stringify(message)
    const size = Math.ceil(text.length / count)
    return Buffer.concat(Array.from({ length: count }, (_, at) => clientFrame(
      (at === 0 ? TEXT : CONTINUATION) | (at === count - 1 ? FIN : 0), text.slice(at * size, (at + 1) * size)
    )))
  }
  const peer = await connectRaw(t, url())
  peer.socket.write(inFragments({ type: 'mine' }, 10))
  t.match(JSON.parse((await peer.frame()).payload.toString()), { type: 'taken' })
  peer.socket.write(inFragments({ type: 'mine', text: 'x'.repeat(200_000) }, 100))
  t.match(JSON.parse((await peer.frame()).payload.toString()), { type: 'taken' })
  peer.socket.write(inFragments({ type: 'mine', text: 'x'.repeat(200) }, 200))
  t.match(JSON.parse((await peer.frame()).payload.toString()), { code: 'rate_limited' })
  t.match(readClose(await peer.frame()), { code: 4001 })
})
