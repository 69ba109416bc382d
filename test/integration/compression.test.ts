import { spawnSync } from 'node:child_process'
import { constants, inflateRawSync } from 'node:zlib'
import fastifyWebsocket from '@fastify/websocket'
import Fastify from 'fastify'
import t from 'tap'
import aiCanvasWs from 'ai-canvas-ws'
import { originOf, startApp } from '../support/app.js'
import { selfSigned } from '../support/certificate.js'
import { Child } from '../support/child.js'
import { RawClient, type RawFrame } from '../support/raw-client.js'
import { connect, type Message } from '../support/ws-client.js'

/** The offers of ws and Chromium. */
const OFFER = 'permessage-deflate; client_max_window_bits'
const PLAIN = 0x81
const DEFLATED = 0xc1

/** 3 KB that compress well: above the documented threshold of 1 KiB. */
const task = { prompt: 'Create a React component. '.repeat(120) }

/** The last four bytes of a flush, which a compressed message omits (RFC 7692, section 7.2.2). */
const TAIL = Buffer.from([0, 0, 0xff, 0xff])

function messageOf ({ first, payload }: RawFrame): Message {
  const text = first === DEFLATED
    ? inflateRawSync(Buffer.concat([payload, TAIL]), { finishFlush: constants.Z_SYNC_FLUSH })
    : payload
  return JSON.parse(text.toString()) as Message
}

t.test('with a peer that offers compression the documented settings are negotiated, and a long message is compressed', async (t) => {
  const { app, url } = await startApp(t)
  const peers = [1, 2].map(() => new RawClient(t, url('?sessionId=s1'), { extensions: OFFER }))
  for (const peer of peers) {
    const [, answer = ''] = /^sec-websocket-extensions: (.*)$/im.exec(await peer.answer) ?? []
    t.same(answer.split('; ').sort(), ['client_no_context_takeover', 'permessage-deflate', 'server_max_window_bits=10', 'server_no_context_takeover'])
    t.equal((await peer.frame()).first, PLAIN, 'the `connection` message is short')
  }
  for (let n = 0; n < 3; n++) {
    await app.wsManager.notifyAIStart('s1', { ...task, n })
    const [one, two] = [await peers[0]!.frame(), await peers[1]!.frame()]
    t.equal(one.first, DEFLATED)
    t.ok(one.payload.length < 300, `${one.payload.length} bytes`)
    t.match(messageOf(one), { type: 'ai_start', task: { ...task, n } }, 'each message can be read without the previous ones')
    t.same(two, one, 'one deflate serves all')
  }
  await app.wsManager.notifyAIStart('s1', { prompt: 'short' })
  t.equal((await peers[0]!.frame()).first, PLAIN)
})

t.test('a client that does not offer compression, or refuses it, gets the same messages uncompressed', async (t) => {
  const { app, url } = await startApp(t)
  const raw = new RawClient(t, url('?sessionId=s1'))
  t.notMatch(await raw.answer, /sec-websocket-extensions/i)
  await raw.frame()
  const refusing = await connect(t, url('?sessionId=s1'), { perMessageDeflate: false })
  t.equal(refusing.ws.extensions, '')
  t.match(await app.wsManager.notifyAIStart('s1', task), { recipients: 2 })
  const frame = await raw.frame()
  t.equal(frame.first, PLAIN)
  t.match(messageOf(frame), { type: 'ai_start', task })
  t.match(await refusing.next(), { type: 'ai_start', task })
})

t.test('a client that offers only a smaller window is admitted without compression', async (t) => {
  const { app, url } = await startApp(t)
  const raw = new RawClient(t, url('?sessionId=s1'), { extensions: 'permessage-deflate; server_max_window_bits=9' })
  const answer = await raw.answer
  t.match(answer, /^HTTP\/1\.1 101 /)
  t.notMatch(answer, /sec-websocket-extensions/i)
  await raw.frame()
  await app.wsManager.notifyAIStart('s1', task)
  const frame = await raw.frame()
  t.equal(frame.first, PLAIN)
  t.match(messageOf(frame), { type: 'ai_start', task })
})

t.test('ws inflates the server\'s messages, and the server inflates those of ws', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s1'), { perMessageDeflate: { threshold: 0 } })
  t.match(client.ws.extensions, /permessage-deflate/)
  client.send({ type: 'subscribe', sessionId: 's2', note: 'compressible '.repeat(200) })
  t.match(await client.next(), { type: 'subscribed', sessionId: 's2' })

  // Short and long messages in one tick: plain and compressed frames in one write.
  for (let n = 0; n < 20; n++) void app.wsManager.notifyAIStart(n % 2 === 0 ? 's1' : 's2', n % 3 === 0 ? { n } : { ...task, n })
  for (let n = 0; n < 20; n++) t.match(await client.next(), { sessionId: n % 2 === 0 ? 's1' : 's2', task: { n } })
  t.same(await client.sync(), [])
})

t.test('a message of more than 256 KiB is sent uncompressed, because compressing it would block the event loop', async (t) => {
  const { app, url } = await startApp(t)
  const raw = new RawClient(t, url('?sessionId=s1'), { extensions: OFFER })
  await raw.frame()
  const client = await connect(t, url('?sessionId=s1'))
  for (const [kib, first] of [[250, DEFLATED], [257, PLAIN], [700, PLAIN]] as const) {
    const prompt = 'x'.repeat(kib * 1024)
    await app.wsManager.notifyAIStart('s1', { prompt })
    const frame = await raw.frame()
    t.equal(frame.first, first, `${kib} KiB`)
    t.equal((messageOf(frame).task as { prompt: string }).prompt, prompt)
    t.equal(((await client.next()).task as { prompt: string }).prompt, prompt)
  }
})

t.test('a message that compression would enlarge is sent uncompressed', async (t) => {
  const { app, url } = await startApp(t)
  const raw = new RawClient(t, url('?sessionId=s1'), { extensions: OFFER })
  await raw.frame()
  const prompt = Array.from({ length: 2000 }, () => String.fromCodePoint(0x4e00 + Math.floor(Math.random() * 20_000))).join('')
  await app.wsManager.notifyAIStart('s1', { prompt })
  const frame = await raw.frame()
  t.match(messageOf(frame), { task: { prompt } })
  t.ok(frame.payload.length <= Buffer.byteLength(JSON.stringify(messageOf(frame))))
})

t.test('compression works over TLS', async (t) => {
  const { key, cert } = selfSigned()
  const app = Fastify({ https: { key, cert } })
  t.teardown(() => app.close())
  await app.register(aiCanvasWs)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const url = `${originOf(app, 'wss')}/ws?sessionId=s1`
  const raw = new RawClient(t, url, { extensions: OFFER, ca: cert })
  await raw.frame()
  const client = await connect(t, url, { ca: cert })
  const plain = await connect(t, url, { ca: cert, perMessageDeflate: false })
  t.match(await app.wsManager.notifyAIStart('s1', task), { recipients: 3 })
  const frame = await raw.frame()
  t.equal(frame.first, DEFLATED)
  for (const message of [messageOf(frame), await client.next(), await plain.next()]) t.match(message, { type: 'ai_start', task })
})

t.test('compression can be disabled', async (t) => {
  const { app, url } = await startApp(t, { websocket: { perMessageDeflate: false } })
  const raw = new RawClient(t, url('?sessionId=s1'), { extensions: OFFER })
  t.notMatch(await raw.answer, /sec-websocket-extensions/i)
  await raw.frame()
  await app.wsManager.notifyAIStart('s1', task)
  t.equal((await raw.frame()).first, PLAIN)
})

t.test('the settings of the app\'s own @fastify/websocket apply: a deflate can be shared only without context takeover', async (t) => {
  const settings = [
    [{ serverNoContextTakeover: true, clientNoContextTakeover: true }, DEFLATED],
    [{}, PLAIN],
    [false, PLAIN]
  ] as const
  for (const [perMessageDeflate, first] of settings) {
    const { app, url } = await startApp(t, {}, {}, (app) =>
      app.register(fastifyWebsocket, { options: { perMessageDeflate, maxPayload: 1024 } }))
    const raw = new RawClient(t, url('?sessionId=s1'), { extensions: OFFER })
    await raw.frame()
    const client = await connect(t, url('?sessionId=s1'))
    await app.wsManager.notifyAIStart('s1', task)
    const frame = await raw.frame()
    t.equal(frame.first, first, JSON.stringify(perMessageDeflate))
    t.match(messageOf(frame), { type: 'ai_start', task })
    t.match(await client.next(), { type: 'ai_start', task })
  }
})

// Debian's package belongs to the system's interpreter, which need not be the first in PATH.
const python = ['python3', '/usr/bin/python3'].find((name) => spawnSync(name, ['-c', 'import websockets']).status === 0)

t.test('a client that is not written in JavaScript inflates the messages', {
  skip: python === undefined && 'needs Python with websockets: apt-get install python3-websockets'
}, async (t) => {
  const { app, url } = await startApp(t)
  const script = new URL('../support/scripts/websockets-client.py', import.meta.url)
  const client = new Child(t, python!, [script.pathname, url('?sessionId=s1')])
  t.equal(await client.next(), 'permessage-deflate')
  t.match(JSON.parse(await client.next()), { type: 'connection', sessionId: 's1' })
  for (let n = 0; n < 6; n++) void app.wsManager.notifyAIStart('s1', n % 2 === 0 ? { ...task, n } : { n })
  for (let n = 0; n < 6; n++) t.match(JSON.parse(await client.next()), { type: 'ai_start', task: n % 2 === 0 ? { ...task, n } : { n } })
  await app.close()
  for (let n = 0; n < 6; n++) t.match(JSON.parse(await client.next()), { type: 'ai_error', error: { type: 'interrupted' } })
  t.equal(await client.next(), '1012 Server restart')
  t.match(await client.exited, { code: 0, stderr: '' })
})
