import { once } from 'node:events'
import fastifyWebsocket from '@fastify/websocket'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import aiCanvasWs from 'ai-canvas-ws'
import { startApp } from '../support/app.js'
import { runScript } from '../support/child.js'
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

for (const [order, options, withDeflate] of [
  ['we registered @fastify/websocket', undefined, false],
  ['the app had registered it before', { perMessageDeflate: true, maxPayload: 200_000 }, true]
] as const) {
  t.test(`the plugin's options of ws apply to its own route alone when ${order}`, async (t) => {
    const app = Fastify()
    t.teardown(() => app.close())
    if (options !== undefined) await app.register(fastifyWebsocket, { options })
    await app.register(aiCanvasWs, { websocket: { maxPayload: 1024 } })
    app.get('/size', { websocket: true }, size)
    const origin = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('http', 'ws')
    t.same(await limitsOf(t, `${origin}/size`), { extensions: withDeflate ? 'permessage-deflate' : '', code: undefined })
    const ours = await connect(t, `${origin}/ws`)
    t.equal(ours.ws.extensions, 'permessage-deflate')
    ours.send({ type: 'ping', text: 'x'.repeat(100_000) })
    t.match(await ours.closed, { code: 1009 })
  })
}

// Fastify throws where nobody can catch it, as for every plugin of this older kind.
t.test('an app that registers @fastify/websocket after us ends with Fastify\'s error about it', async (t) => {
  const { exited } = runScript(t, new URL('../support/scripts/websocket-after.ts', import.meta.url))
  t.match(await exited, { code: 1, stderr: /FST_ERR_DEC_ALREADY_PRESENT.*The decorator 'ws' has already been added/s })
})
