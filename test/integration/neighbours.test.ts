import { execFile } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import httpProxy from '@fastify/http-proxy'
import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import { Server as SocketServer } from 'socket.io'
import t, { type Test } from 'tap'
import { createServer as createVite } from 'vite'
import { WebSocket, WebSocketServer } from 'ws'
import aiCanvasWs from 'ai-canvas-ws'
import { selfSigned } from '../support/certificate.js'
import { captureLog, type Line } from '../support/log.js'
import { RawConnection, upgradeRequest } from '../support/raw-http.js'
import { connect, open } from '../support/ws-client.js'

const run = promisify(execFile)

interface Started { app: FastifyInstance, port: number, lines: Line[] }

/** An app with the plugin, some plain routes and a WebSocket route of its own. */
async function start (t: Test, prepare?: (app: FastifyInstance) => unknown, fastify: object = {}): Promise<Started> {
  const { lines, stream } = captureLog()
  const app = Fastify({ logger: { level: 'info', stream }, forceCloseConnections: true, ...fastify })
  t.teardown(() => app.close())
  await app.register(aiCanvasWs, { closeTimeoutMs: 300, limits: { authTimeoutMs: 300 } })
  app.get('/hello', (request) => ({ hello: request.headers['x-name'] ?? 'world' }))
  app.post('/echo', (request) => ({ body: request.body }))
  app.get('/own/:name', { websocket: true }, (socket) => { socket.send('{"type":"own"}') })
  await prepare?.(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, port: (app.server.address() as AddressInfo).port, lines }
}

async function works (t: Test, { app, port }: Started): Promise<void> {
  const ours = await connect(t, `ws://127.0.0.1:${port}/ws?sessionId=s1`)
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 1 })
  t.match(await ours.next(), { type: 'ai_start' })
  t.match(await open(t, `ws://127.0.0.1:${port}/own/a?x=1`).next(), { type: 'own' })
}

const h2c = { upgrade: 'h2c', connection: 'Upgrade, HTTP2-Settings', headers: ['HTTP2-Settings: AAMAAABkAAQAAP__'] } as const

const beside: Record<string, (app: FastifyInstance) => unknown> = {
  'nobody else': () => { /* only the plugin */ },
  'Socket.IO': (app) => { new SocketServer(app.server, { serveClient: false }) },
  'a listener that takes some upgrades': (app) => {
    app.server.on('upgrade', (request, socket) => { if (request.url === '/mine') socket.end('HTTP/1.1 101 Mine\r\n\r\n') })
  }
}

for (const [name, prepare] of Object.entries(beside)) {
  t.test(`plain requests that offer another protocol are answered as usual, beside ${name}`, async (t) => {
    const started = await start(t, prepare)
    const connection = new RawConnection(t, started.port)
    connection.write(upgradeRequest('GET /hello', { ...h2c, headers: [...h2c.headers, 'X-Name: h2c'] }))
    t.match(await connection.until(/}$/), /^HTTP\/1\.1 200 OK[\s\S]*{"hello":"h2c"}$/)
    const body = JSON.stringify({ text: 'x'.repeat(100_000) })
    const type = 'Content-Type: application/json'
    connection.text = ''
    connection.write(upgradeRequest('POST /echo', { ...h2c, headers: [...h2c.headers, type, `Content-Length: ${body.length}`] }))
    connection.write(body.slice(0, 70_000))
    connection.write(body.slice(70_000))
    t.match(await connection.until(/x"}}$/), /^HTTP\/1\.1 200 OK/, 'on the same connection, with a body')
    connection.text = ''
    connection.write(upgradeRequest('POST /echo', { ...h2c, headers: [...h2c.headers, type, 'Transfer-Encoding: chunked'], body: '5\r\n[1,2,\r\n2\r\n3]\r\n0\r\n\r\n' }))
    t.match(await connection.until(/\]}$/), /{"body":\[1,2,3\]}$/, 'with a chunked body')
    connection.text = ''
    connection.write(upgradeRequest('POST /echo', { ...h2c, headers: [...h2c.headers, type, 'Content-Length: 2', 'Expect: 100-continue'] }))
    await connection.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/)
    connection.write('[]')
    t.match(await connection.until(/\]}$/), /{"body":\[\]}$/, 'with a body that waits for 100 Continue')
    connection.text = ''
    connection.write(upgradeRequest('GET /hello', h2c) + upgradeRequest('GET /hello', { upgrade: 'TLS/1.0', headers: ['X-Name: second'] }) + 'GET /hello HTTP/1.1\r\nHost: x\r\nX-Name: third\r\n\r\n')
    t.match(await connection.until(/third"}$/), /world[\s\S]*second[\s\S]*third/, 'and several at once')
    for (const [line, status] of [['GET /nothing', 404], ['HEAD /ws', 426], ['POST /ws', 404], ['GET /ws', 426], ['GET /ws%', 400]] as const) {
      const connection = new RawConnection(t, started.port).write(upgradeRequest(line, h2c))
      t.match(await connection.until(/\r\n\r\n/), new RegExp(`^HTTP/1.1 ${status} `), line)
    }
    await works(t, started)
  })
}

t.test('the same over TLS, beside HTTP/2', async (t) => {
  const { key, cert } = selfSigned()
  for (const fastify of [{ https: { key, cert } }, { http2: true, https: { key, cert, allowHTTP1: true } }]) {
    const { port } = await start(t, undefined, fastify)
    const connection = new RawConnection(t, port, cert)
    for (const name of ['one', 'two']) {
      connection.text = ''
      connection.write(upgradeRequest('GET /hello', { ...h2c, headers: [`X-Name: ${name}`] }))
      t.match(await connection.until(/}$/), new RegExp(`^HTTP/1.1 200 [\\s\\S]*{"hello":"${name}"}$`))
    }
  }
})

t.test('a request whose headers Node.js has truncated is refused, because its length could be missing', async (t) => {
  const { app, port } = await start(t, undefined, { http: { maxHeaderSize: 64 * 1024 } })
  const ask = async (headers: string[]): Promise<string> => {
    const connection = new RawConnection(t, port).write(upgradeRequest('GET /hello', { ...h2c, headers }))
    return connection.until(/\r\n\r\n/)
  }
  t.match(await ask(Array.from({ length: 1500 }, (_, n) => `a${n}: 1`)), /^HTTP\/1\.1 431 /)
  app.server.maxHeadersCount = 10
  t.match(await ask(Array.from({ length: 20 }, (_, n) => `a${n}: 1`)), /^HTTP\/1\.1 431 /)
  app.server.maxHeadersCount = 0
  t.match(await ask(Array.from({ length: 1500 }, (_, n) => `a${n}: 1`)), /^HTTP\/1\.1 200 /)
})

t.test('curl --http2 and Java\'s HttpClient receive their responses', async (t) => {
  const started = await start(t)
  const url = `http://127.0.0.1:${started.port}`
  const curl = async (...args: string[]): Promise<string> => (await run('curl', ['-sS', '--http2', '--max-time', '20', ...args])).stdout
  t.equal(await curl(`${url}/hello`), '{"hello":"world"}')
  t.equal(await curl('-H', 'Content-Type: application/json', '-d', '{"a":1}', `${url}/echo`), '{"body":{"a":1}}')
  t.match(await curl(`${url}/ws`), /Upgrade Required/)

  const folder = mkdtempSync(join(tmpdir(), 'java-client-'))
  const file = join(folder, 'Ask.java')
  writeFileSync(file, `
    import java.net.URI;
    import java.net.http.*;
    public class Ask {
      public static void main(String[] args) throws Exception {
        var client = HttpClient.newHttpClient();
        var get = HttpRequest.newBuilder(URI.create(args[0] + "/hello")).build();
        var post = HttpRequest.newBuilder(URI.create(args[0] + "/echo")).header("Content-Type", "application/json")
          .POST(HttpRequest.BodyPublishers.ofString("[" + "1,".repeat(50000) + "1]")).build();
        for (var request : new HttpRequest[] { get, post, get }) {
          var response = client.send(request, HttpResponse.BodyHandlers.ofString());
          System.out.println(response.statusCode() + " " + response.body().length());
        }
      }
    }`)
  const { stdout } = await run('java', [file, url])
  t.equal(stdout, '200 17\n200 100012\n200 17\n')
})

t.test('Socket.IO connects beside the plugin, and its termination of other upgrades is reported', async (t) => {
  let io: SocketServer | undefined
  const started = await start(t, (app) => { io = new SocketServer(app.server, { serveClient: false, transports: ['websocket'] }) })
  const client = new WebSocket(`ws://127.0.0.1:${started.port}/socket.io/?EIO=4&transport=websocket`)
  t.teardown(() => { client.terminate() })
  const connected = once(io!, 'connection')
  const [opened] = await once(client, 'message') as [Buffer]
  t.match(opened.toString(), /^0{"sid"/)
  client.send('40')
  await connected
  await works(t, started)
  t.match(started.lines.filter(({ msg }) => msg.includes('Socket.IO')), [{ level: 30, msg: /destroyUpgrade: false/ }])
  io!.disconnectSockets(true)
})

t.test('Vite\'s HMR socket connects beside the plugin', async (t) => {
  const started = await start(t, async (app) => {
    const vite = await createVite({
      configFile: false, root: mkdtempSync(join(tmpdir(), 'vite-')), logLevel: 'silent', appType: 'custom',
      server: { middlewareMode: true, hmr: { server: app.server } }
    })
    t.teardown(() => vite.close())
  })
  const client = new WebSocket(`ws://127.0.0.1:${started.port}/`, 'vite-hmr')
  t.teardown(() => { client.terminate() })
  const [message] = await once(client, 'message') as [Buffer]
  t.equal(message.toString(), '{"type":"connected"}')
  await works(t, started)
  const connection = new RawConnection(t, started.port).write(upgradeRequest('GET /hello', h2c))
  t.match(await connection.until(/}$/), /"world"/)
})

t.test('@fastify/http-proxy with WebSockets works beside the plugin', async (t) => {
  const upstream = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => { upstream.close() })
  upstream.on('connection', (socket) => { socket.send('{"type":"upstream"}') })
  await once(upstream, 'listening')
  const started = await start(t, (app) => app.register(httpProxy, {
    upstream: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, prefix: '/proxied', websocket: true
  }))
  const client = open(t, `ws://127.0.0.1:${started.port}/proxied/x`)
  t.match(await client.next(), { type: 'upstream' })
  await works(t, started)
  await client.close()
})

t.test('on close, upgrades that other listeners ignore are ended, and those that they handle are not', async (t) => {
  const taken: Array<{ end: () => void }> = []
  const started = await start(t, (app) => {
    app.server.on('upgrade', (request, socket) => {
      if (request.url !== '/mine') return
      socket.on('data', () => { /* another protocol */ })
      taken.push(socket)
    })
  })
  const left = new RawConnection(t, started.port).write(upgradeRequest('GET /nobody'))
  const mine = new RawConnection(t, started.port).write(upgradeRequest('GET /mine', { upgrade: 'mine/1' }))
  await works(t, started)
  t.equal(taken.length, 1)
  const closing = started.app.close()
  await left.ended
  t.equal(left.text, '')
  t.equal(mine.socket.readableEnded, false, 'other listeners keep their upgrades')
  taken[0]!.end()
  mine.socket.end()
  await closing
})

t.test('if the app registered @fastify/websocket beside other listeners, one log line says so', async (t) => {
  const warnings = async (prepare: (app: FastifyInstance) => unknown): Promise<Line[]> => {
    const { lines, stream } = captureLog()
    const app = Fastify({ logger: { level: 'warn', stream } })
    t.teardown(() => app.close())
    await prepare(app)
    await app.register(aiCanvasWs)
    await app.listen({ port: 0, host: '127.0.0.1' })
    return lines
  }
  const theirs = (app: FastifyInstance): unknown => app.register(fastifyWebsocket, { options: { maxPayload: 1024 } })
  t.same(await warnings(theirs), [])
  t.same(await warnings((app) => { app.server.on('upgrade', () => { /* another listener */ }) }), [])
  t.match(await warnings(async (app) => {
    await theirs(app)
    app.server.on('upgrade', () => { /* another listener */ })
  }), [{ level: 40, listeners: 1, msg: /@fastify\/websocket, registered by the app, handles every upgrade request.* register ai-canvas-ws instead/ }])
})
