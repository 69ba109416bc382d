import { once } from 'node:events'
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import aiCanvasWs, { type AiCanvasWsOptions } from 'ai-canvas-ws'
import { selfSigned } from '../support/certificate.js'
import { captureLog, type Line } from '../support/log.js'
import { RawConnection } from '../support/raw-http.js'
import { connect } from '../support/ws-client.js'

const certificate = selfSigned()

/** How a server speaks HTTP. `upgrades`: whether a WebSocket can be opened on it. */
const servers = {
  'HTTP/1.1': { options: {}, tls: false, http2: false, upgrades: true },
  'HTTP/1.1 over TLS': { options: { https: certificate }, tls: true, http2: false, upgrades: true },
  'HTTP/2 with allowHTTP1': { options: { http2: true, https: { ...certificate, allowHTTP1: true } }, tls: true, http2: true, upgrades: true },
  'HTTP/1.1 beside HTTP/2': { options: { http2: true, https: { ...certificate, allowHTTP1: true } }, tls: true, http2: false, upgrades: true },
  'HTTP/2 over TLS': { options: { http2: true, https: certificate }, tls: true, http2: true, upgrades: false },
  'HTTP/2 without TLS (h2c)': { options: { http2: true }, tls: false, http2: true, upgrades: false }
} as const

interface Answer { status: number, headers: IncomingHttpHeaders, body: string }
type Ask = (method: string, path: string) => Promise<Answer>

async function start (t: Test, fastify: object, options: AiCanvasWsOptions = {}): Promise<{ app: FastifyInstance, port: number, lines: Line[] }> {
  const { lines, stream } = captureLog()
  // Otherwise Fastify waits for open HTTP/2 sessions.
  const app = Fastify({ logger: { level: 'warn', stream }, forceCloseConnections: true, ...fastify })
  t.teardown(() => app.close())
  await app.register(aiCanvasWs, { closeTimeoutMs: 500, ...options })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, port: (app.server.address() as AddressInfo).port, lines }
}

function askHttp1 (t: Test, port: number, tls: boolean): Ask {
  const ca = tls ? certificate.cert : undefined
  return async (method, path) => {
    const connection = new RawConnection(t, port, ca).write(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    await connection.ended
    connection.socket.destroy()
    const [head = '', body = ''] = connection.text.split('\r\n\r\n', 2)
    const [status = '', ...lines] = head.split('\r\n')
    const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]))
    return { status: Number(status.split(' ')[1]), headers, body }
  }
}

function askHttp2 (t: Test, port: number, tls: boolean): Ask {
  const session = connectHttp2(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, { ca: certificate.cert })
  t.teardown(() => { session.destroy() })
  return async (method, path) => {
    const stream = session.request({ ':method': method, ':path': path })
    const [[headers], body] = await Promise.all([once(stream, 'response') as Promise<[IncomingHttpHeaders & { ':status': number }]>, text(stream)])
    return { status: headers[':status'], headers, body }
  }
}

for (const [name, { options, tls, http2, upgrades }] of Object.entries(servers)) {
  t.test(`every route and refusal over ${name}`, async (t) => {
    const { app, port, lines } = await start(t, options)
    const ask = http2 ? askHttp2(t, port, tls) : askHttp1(t, port, tls)
    for (const path of ['/ws', '/ws?sessionId=s1&token=x']) {
      const { status, headers, body } = await ask('GET', path)
      t.equal(status, 426)
      t.equal(headers.upgrade, http2 ? undefined : 'websocket')
      t.match(JSON.parse(body), { statusCode: 426, error: 'Upgrade Required', message: http2 ? /over HTTP\/1\.1$/ : /WebSocket client$/ })
    }
    t.match(await ask('HEAD', '/ws'), { status: 426, body: '' })
    t.match(await ask('POST', '/ws'), { status: 404 })
    t.match(await ask('GET', '/ws/'), { status: 404 })
    t.match(await ask('GET', '/ws%'), { status: 400 })
    t.match(await ask('GET', '/api/ws/stats'), { status: 200, body: /"totalConnections":0/ })
    t.match(await ask('HEAD', '/api/ws/stats'), { status: 200, body: '' })
    t.match(await ask('GET', '/api/ws/stats?limit=x'), { status: 400 })
    t.match(await ask('POST', '/api/ws/stats'), { status: 404 })

    if (upgrades) {
      const client = await connect(t, `${tls ? 'wss' : 'ws'}://127.0.0.1:${port}/ws?sessionId=s1`, { ca: certificate.cert })
      await app.wsManager.notifyAIStart('s1', {})
      t.match(await client.next(), { type: 'ai_start' })
      t.match(await ask('GET', '/api/ws/stats?sessionId=s1'), { status: 200, body: /"totalConnections":1/ })
      t.same(lines, [])
      await app.close()
      t.match(await client.closed, { code: 1012 })
    } else {
      t.match(lines, [{ level: 40, msg: /no client can connect, .* allowHTTP1: true/ }])
    }
  })

  t.test(`the stats of a server with authentication, over ${name}`, async (t) => {
    const { port } = await start(t, options, { authenticate: () => ({ userId: 'u1' }), authorize: true })
    const ask = http2 ? askHttp2(t, port, tls) : askHttp1(t, port, tls)
    t.match(await ask('GET', '/api/ws/stats?userId=u1'), { status: 403 })
    t.match(await ask('GET', '/ws'), { status: 426 })
  })
}
