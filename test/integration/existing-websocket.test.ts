import { once } from 'node:events'
import fastifyWebsocket from '@fastify/websocket'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import aiCanvasWs from 'ai-canvas-ws'
import { startApp } from '../support/app.js'
import { runScript } from '../support/child.js'
import { captureLog } from '../support/log.js'
import { connect, open } from '../support/ws-client.js'

const echo = (socket: { on: (event: 'message', listener: (data: Buffer) => void) => void, send: (text: string) => void }): void => {
  socket.on('message', (data) => { socket.send(`{"type":"echo","text":${data.toString()}}`) })
}

t.test('an app that has @fastify/websocket keeps its own routes, and gets ours beside them', async (t) => {
  const { app, url, origin } = await startApp(t, {}, {}, async (app) => {
    await app.register(fastifyWebsocket, { options: { maxPayload: 64 * 1024 } })
    app.get('/echo', { websocket: true }, echo)
  })
  const theirs = open(t, `${origin}/echo`)
  await new Promise((resolve) => theirs.ws.once('open', resolve))
  theirs.send('"hello"')
  t.same(await theirs.next(), { type: 'echo', text: 'hello' })

  const ours = await connect(t, url('?sessionId=s1'))
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 1 })
  t.match(await ours.next(), { type: 'ai_start' })
  t.match(app.wsManager.getStats(), { totalConnections: 1 }, 'theirs is none of our connections')
  t.equal(app.websocketServer.clients.size, 1, 'and ours is none of theirs')

  await app.close()
  t.same(await ours.closed, { code: 1012, reason: 'Server restart' })
  t.match(await theirs.closed, { code: 1005 }, 'as @fastify/websocket closes')
})

t.test('beside ours an app can have WebSocket routes of its own without registering it', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(aiCanvasWs)
  app.get('/echo', { websocket: true }, echo)
  const origin = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('http', 'ws')
  const theirs = open(t, `${origin}/echo`)
  await new Promise((resolve) => theirs.ws.once('open', resolve))
  theirs.send('"hello"')
  t.same(await theirs.next(), { type: 'echo', text: 'hello' })
})

/** What the server agreed to for a client that offers permessage-deflate, and how it takes a message of 100 KB. */
async function limitsOf (t: Test, url: string): Promise<{ extensions: string, code: number | undefined }> {
  const client = open(t, url)
  await once(client.ws, 'open')
  client.send(JSON.stringify('x'.repeat(100_000)))
  const code = await Promise.race([client.closed.then(({ code }) => code), client.next().then(() => undefined, () => new Promise<never>(() => { /* closed */ }))])
  return { extensions: client.ws.extensions, code }
}

const size = (socket: { on: (event: 'message', listener: (data: Buffer) => void) => void, send: (text: string) => void }): void => {
  socket.on('message', (data) => { socket.send(`{"type":"size","size":${data.length}}`) })
}

t.test('the plugin\'s options of ws apply to its own route alone', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(aiCanvasWs, { websocket: { maxPayload: 1024, clientTracking: false } })
  app.get('/size', { websocket: true }, size)
  const origin = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('http', 'ws')
  t.same(await limitsOf(t, `${origin}/size`), { extensions: '', code: undefined })
  const ours = await connect(t, `${origin}/ws`)
  t.equal(ours.ws.extensions, 'permessage-deflate')
  ours.send({ type: 'ping', text: 'x'.repeat(100_000) })
  t.match(await ours.closed, { code: 1009 })
})

t.test('an app whose @fastify/websocket takes messages of any size is warned', async (t) => {
  const warnings = async (maxPayload?: number): Promise<object[]> => {
    const { lines, stream } = captureLog()
    await startApp(t, {}, { logger: { level: 'warn', stream } }, (app) =>
      app.register(fastifyWebsocket, maxPayload === undefined ? {} : { options: { maxPayload } }))
    return lines
  }
  const line = { msg: /register it with options: \{ maxPayload \}/, recommended: 64 * 1024 }
  t.match(await warnings(), [{ ...line, maxPayload: 100 * 1024 * 1024 }])
  t.match(await warnings(64 * 1024 + 1), [{ ...line, maxPayload: 64 * 1024 + 1 }])
  t.match(await warnings(0), [{ ...line, maxPayload: 0 }], 'to ws 0 is no limit')
  t.same(await warnings(64 * 1024), [])
})

t.test('options for ws can\'t be given twice', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyWebsocket)
  await t.rejects(async () => app.register(aiCanvasWs, { websocket: { maxPayload: 1024 } }), {
    code: 'AICW_ERR_INVALID_OPTION', message: /option "websocket" can't be given here .* pass it there as \{ options \}/
  })
})

// Fastify throws where nobody can catch it, as for every plugin of this older kind.
t.test('an app that registers @fastify/websocket after us ends with Fastify\'s error about it', async (t) => {
  const { exited } = runScript(t, new URL('../support/scripts/websocket-after.ts', import.meta.url))
  t.match(await exited, { code: 1, stderr: /FST_ERR_DEC_ALREADY_PRESENT.*The decorator 'ws' has already been added/s })
})
