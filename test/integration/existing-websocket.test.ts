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

t.test('an app that has @fastify/websocket keeps its own routes beside the plugin\'s', async (t) => {
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
  t.match(app.wsManager.getStats(), { totalConnections: 1 }, 'the app\'s socket is not one of the plugin\'s connections')
  t.equal(app.websocketServer.clients.size, 1, 'and the plugin\'s is not one of the app\'s')

  await app.close()
  t.same(await ours.closed, { code: 1012, reason: 'Server restart' })
  t.match(await theirs.closed, { code: 1005 }, 'as @fastify/websocket closes')
})

t.test('an app can have WebSocket routes of its own without registering @fastify/websocket', async (t) => {
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

/**
 * Returns the extensions that the server agreed to with a client that offers permessage-deflate, and its reaction to a message
 * of 100 KB.
 */
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

t.test('the plugin\'s options for ws apply only to its own route', async (t) => {
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

t.test('an app whose @fastify/websocket accepts messages of any size gets a warning', async (t) => {
  const warnings = async (maxPayload?: number): Promise<object[]> => {
    const { lines, stream } = captureLog()
    await startApp(t, {}, { logger: { level: 'warn', stream } }, (app) =>
      app.register(fastifyWebsocket, maxPayload === undefined ? {} : { options: { maxPayload } }))
    return lines
  }
  const line = { msg: /register it with options: \{ maxPayload \}/, recommended: 64 * 1024 }
  t.match(await warnings(), [{ ...line, maxPayload: 100 * 1024 * 1024 }])
  t.match(await warnings(64 * 1024 + 1), [{ ...line, maxPayload: 64 * 1024 + 1 }])
  t.match(await warnings(0), [{ ...line, maxPayload: 0 }], 'to ws 0 means no limit')
  t.same(await warnings(64 * 1024), [])
})

t.test('options for ws can\'t be given twice', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyWebsocket)
  await t.rejects(async () => app.register(aiCanvasWs, { websocket: { maxPayload: 1024 } }), {
    code: 'AICW_ERR_INVALID_OPTION', message: /option "websocket" can't be used .* pass it there as \{ options \}/
  })
})

// Fastify throws where no code can catch it, as for every plugin of this older kind.
t.test('registering @fastify/websocket after this plugin fails with Fastify\'s error', async (t) => {
  const { exited } = runScript(t, new URL('../support/scripts/websocket-after.ts', import.meta.url))
  t.match(await exited, { code: 1, stderr: /FST_ERR_DEC_ALREADY_PRESENT.*The decorator 'ws' has already been added/s })
})
