import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect as connectHttp2, type IncomingHttpHeaders, type Settings } from 'node:http2'
import { get } from 'node:https'
import { connect as dial, type AddressInfo } from 'node:net'
import { connect as dialTls } from 'node:tls'
import Fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { createServer as createVite } from 'vite'
import { WebSocket as Socket } from 'ws'
import aiCanvasWs, { defaults, type AiCanvasWsOptions } from 'ai-canvas-ws'
import { createClient, type Client, type ClientOptions } from 'ai-canvas-ws/client'
import { captureLog, type Line } from '../support/log.js'
import { until } from '../support/until.js'
import { open as openRaw, type Message } from '../support/ws-client.js'
import { certificate, chapter, HOST, page, proxies, startProxy, type Proxy, type ProxyKind } from './proxies.js'

t.jobs = proxies.length

const TOKEN = 'a-secret-token-of-this-test'

/** Source address of the client. Linux has more than one loopback address. */
const CLIENT_ADDRESS = process.platform === 'linux' ? '127.0.0.2' : '127.0.0.1'

/** Returns the origin of a page, which a browser sends with the upgrade request. */
const pageAt = (port: number | string): string => `https://${HOST}:${port}`

interface From {
  origin?: string
  headers?: Record<string, string>
  /** Source address of the connection. */
  localAddress?: string
}

/**
 * Returns a WebSocket class that works like a browser's: it connects to the app by host name, sends the page's origin and a
 * cookie, and verifies the certificate.
 */
function browser (proxy: Proxy, { origin = pageAt(proxy.port), headers = {}, localAddress = '127.0.0.1' }: From): typeof Socket {
  return class extends Socket {
    constructor (url: string | URL, protocols: string[] = []) {
      super(url, protocols, {
        headers: { origin, cookie: 'sid=1', ...headers },
        createConnection: () => dialTls({ socket: dial({ host: '127.0.0.1', port: proxy.port, localAddress }), servername: HOST, ca: certificate.cert })
      })
    }
  } as typeof Socket
}

/** Opens a client, as a page of the app does. It reconnects quickly and never gives up. */
function open (t: Test, proxy: Proxy, from: From = {}, options: ClientOptions = {}): Client {
  const client = createClient({
    url: `${pageAt(proxy.port)}/ws`,
    sessionId: 's',
    WebSocket: browser(proxy, from),
    reconnectInterval: 50,
    maxReconnectIntervalMs: 500,
    maxReconnectAttempts: 1_000,
    ...options
  })
  t.teardown(() => { client.close() })
  client.connect()
  return client
}

const next = <T = Message>(client: Client, type: string): Promise<T> => new Promise((resolve) => {
  const stop = client.on(type as 'message', (event) => { stop(); resolve(event as T) })
})

/** Opens a client. Resolves with `in` when it is connected, or with the code with which its connection was closed. */
async function outcome (t: Test, proxy: Proxy, from: From, options?: ClientOptions): Promise<'in' | number> {
  const client = open(t, proxy, from, options)
  return Promise.race([next(client, 'open').then(() => 'in' as const), next<{ code: number }>(client, 'close').then(({ code }) => code)])
    .finally(() => { client.close() })
}

interface Served {
  app: FastifyInstance
  port: number
  /** Returns the log lines about refused clients, with the reasons. */
  refusals: () => Line[]
}

/** Starts an app that authenticates its users by a cookie or a token. */
async function serve (t: Test, options: AiCanvasWsOptions = {}, fastify: FastifyServerOptions = {}, port = 0): Promise<Served> {
  const { lines, stream } = captureLog()
  const app = Fastify({ logger: { level: 'info', stream }, ...fastify })
  t.teardown(() => app.close())
  await app.register(aiCanvasWs, {
    authenticate: ({ headers }, { token }) => (token === TOKEN || headers.cookie === 'sid=1') && { userId: 'u' },
    authorize: true,
    closeTimeoutMs: 500,
    ...options
  })
  await app.listen({ port, host: '127.0.0.1' })
  return {
    app,
    port: (app.server.address() as AddressInfo).port,
    refusals: () => lines.filter(({ msg }) => msg === 'client refused')
  }
}

/** The properties of a request that depend on `trustProxy`. */
type Seen = Pick<FastifyRequest, 'ip' | 'protocol' | 'host'>

for (const kind of proxies) {
  const missing = kind.find() === undefined && `needs ${kind.name}: "npm run setup" as root, or apt-get install ${kind.debianPackage}`
  t.test(kind.name, { skip: missing, buffered: true }, async (t) => {
    // One of the tests takes as long as all the others together.
    t.jobs = 2
    t.test('an idle connection stays open, because the heartbeat is shorter than the idle timeout', { buffered: true }, staysOpen(kind))

    for (const trustProxy of [false, '127.0.0.1']) {
      t.test(`with trustProxy ${trustProxy}, the app's own page gets in on an odd port, and no other page`, { buffered: true }, async (t) => {
        let seen: Seen | undefined
        const { port } = await serve(t, {
          authenticate: ({ ip, protocol, host, headers: { cookie } }) => {
            seen = { ip, protocol, host }
            return cookie === 'sid=1' && { userId: 'u' }
          }
        }, { trustProxy })
        const proxy = await startProxy(t, kind, { appPort: port })
        const host = `${HOST}:${proxy.port}`
        const shown = (host: string): Seen => trustProxy === false
          ? { ip: '127.0.0.1', protocol: 'http', host }
          : { ip: CLIENT_ADDRESS, protocol: 'https', host }
        t.equal(await outcome(t, proxy, { localAddress: CLIENT_ADDRESS }), 'in')
        t.same(seen, shown(host))

        const forged = {
          'x-forwarded-host': 'evil.example', 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'ws', forwarded: 'for=203.0.113.9;host=evil.example;proto=ws'
        }
        t.equal(await outcome(t, proxy, { localAddress: CLIENT_ADDRESS, headers: forged }), 'in')
        t.same(seen, shown(host), 'the proxy overwrites what a client says about itself')
        seen = undefined
        for (const origin of ['https://evil.example', `https://${HOST}`, pageAt(1), `https://127.0.0.1:${proxy.port}`, `https://127.0.0.1:${port}`, 'null']) {
          t.equal(await outcome(t, proxy, { origin }), 4501, origin)
        }
        t.equal(await outcome(t, proxy, { origin: 'https://evil.example', headers: forged }), 4501, 'a host that the client names itself')
        t.equal(seen, undefined)

        for (const host of [HOST, `${HOST}:443`, HOST.toUpperCase()]) {
          t.equal(await outcome(t, proxy, { origin: `https://${HOST}`, headers: { host } }), 'in', `at the default port: ${host}`)
        }
      })
    }

    t.test('close codes reach the client, and it is back when the app is', { buffered: true }, async (t) => {
      const first = await serve(t)
      const proxy = await startProxy(t, kind, { appPort: first.port })
      const client = open(t, proxy)
      await next(client, 'open')
      const closed = next(client, 'close')
      await first.app.close()
      t.match(await closed, { code: 1012, reason: 'Server restart', wasConnected: true })
      t.match(await next(client, 'close'), { code: 1006, wasConnected: false }, 'the proxy has nobody to ask')

      const reopened = next(client, 'open')
      const second = await serve(t, { authenticate: () => ({ userId: 'u', expiresAt: Date.now() + 1_000 }) }, {}, first.port)
      await reopened
      t.match(await next(client, 'close'), { code: 4002, reason: 'Token expired' })
      await next(client, 'open')
      const refused = next(client, 'close')
      await second.app.wsManager.revoke('u')
      t.match(await refused, { code: 4502, reason: 'Access revoked' })
      t.match(client, { state: 'closed', reason: 'refused' })
    })

    t.test('after a restart of the proxy the client is back, with what it missed', { buffered: true }, async (t) => {
      const { app, port } = await serve(t)
      const proxy = await startProxy(t, kind, { appPort: port })
      const client = open(t, proxy)
      const numbers: unknown[] = []
      client.on('message', ({ number }: Message) => { if (number !== undefined) numbers.push(number) })
      await next(client, 'open')
      const closed = next(client, 'close')
      app.wsManager.broadcastToSession('s', { type: 'counted', number: 1 })
      await next(client, 'counted')
      await proxy.stop()
      await closed
      t.equal(client.state, 'waiting')
      app.wsManager.broadcastToSession('s', { type: 'counted', number: 2 })
      const reopened = next(client, 'open')
      await proxy.start()
      await reopened
      const last = next(client, 'last')
      app.wsManager.broadcastToSession('s', { type: 'last', number: 3 })
      await last
      t.same(numbers, [1, 2, 3])
    })

    t.test('its log has the requests, and no token', { buffered: true }, async (t) => {
      const { app, port } = await serve(t)
      const proxy = await startProxy(t, kind, { appPort: port })
      const getToken = (): string => TOKEN
      const url = `${pageAt(proxy.port)}/ws?x=1&token=${TOKEN}`
      const foreign = { origin: 'https://evil.example' }
      const outcomes = (): Promise<unknown> => Promise.all([{ getToken }, { url }].map((options) => outcome(t, proxy, foreign, options)))
      t.same(await outcomes(), ['in', 'in'])
      await app.close()
      t.same(await outcomes(), [1006, 1006], 'the app is gone')
      // HAProxy logs a connection shortly after its end, and logs nothing more after it is stopped.
      await until(() => (proxy.log.requests.match(/\/ws\b/g) ?? []).length >= 4)
      await proxy.stop()
      const { requests, rest } = proxy.log
      const inSubprotocol = Buffer.from(TOKEN).toString('base64url')
      t.ok(requests.match(/\/ws\b/g)!.length >= 4, 'all of them are logged')
      t.notOk(requests.includes(TOKEN) || requests.includes(inSubprotocol))
      t.notOk(rest.includes(inSubprotocol))
      t.equal(rest.includes(TOKEN), kind.name === 'nginx', 'the error log that the page warns of')
    })

    t.test('what is no WebSocket is told so', { buffered: true }, async (t) => {
      const { port } = await serve(t)
      const proxy = await startProxy(t, kind, { appPort: port })
      const request = get({ port: proxy.port, host: '127.0.0.1', servername: HOST, path: '/ws', ca: certificate.cert, headers: { host: HOST } })
      const [response] = await once(request, 'response') as [IncomingMessage]
      t.equal(response.resume().statusCode, 426)
    })

    if (kind.name === 'nginx') t.test('mistakes that are often made with it', { buffered: true }, mistakes(kind))
    if (kind.name === 'HAProxy') t.test('a WebSocket over HTTP/2 is one too', { buffered: true }, overHttp2(kind))
  })
}

/** Returns a test that a connection with a heartbeat stays open for more than twice the idle timeout. */
function staysOpen (kind: ProxyKind) {
  return async (t: Test): Promise<void> => {
    const idleTimeoutMs = 3_000
    const { port } = await serve(t, { heartbeatIntervalMs: 800 })
    const proxy = await startProxy(t, kind, { appPort: port, idleTimeoutMs })
    const socket = new (browser(proxy, {}))(`${pageAt(proxy.port)}/ws`)
    t.teardown(() => { socket.terminate() })
    const hasLost = lostWithout(t, kind, idleTimeoutMs)
    for (let pings = 0; pings < 9; pings++) await once(socket, 'ping')
    t.equal(socket.readyState, Socket.OPEN)
    await hasLost
  }
}

/**
 * Checks that the proxy applies the idle timeout: a connection without a heartbeat is lost. Caddy is skipped, because its block
 * sets no idle timeout.
 */
async function lostWithout (t: Test, kind: ProxyKind, idleTimeoutMs: number): Promise<void> {
  if (!kind.block.includes('75s')) return
  const { port } = await serve(t, { heartbeatIntervalMs: 600_000 })
  const client = open(t, await startProxy(t, kind, { appPort: port, idleTimeoutMs }))
  await next(client, 'open')
  t.match(await next(client, 'close'), { code: 1006, wasConnected: true }, 'without a heartbeat it is lost')
  await next(client, 'open')
}

/** Returns a test of nginx blocks that contain common mistakes. */
function mistakes (kind: ProxyKind) {
  const without = (pattern: RegExp) => (block: string): string => block.split('\n').filter((line) => !pattern.test(line)).join('\n')
  return async (t: Test): Promise<void> => {
    const wary = await serve(t)
    const trusting = await serve(t, {}, { trustProxy: '127.0.0.1' })

    const portless = await startProxy(t, kind, { appPort: wary.port, change: (block) => block.replaceAll('$http_host', '$host') })
    t.equal(await outcome(t, portless, {}), 4501)
    t.match(wary.refusals().at(-1), { origin: pageAt(portless.port), host: HOST, hint: /removed the port.*Host \$http_host/ })

    const change = without(/proxy_set_header Host/)
    const hostless = await startProxy(t, kind, { appPort: wary.port, change })
    t.equal(await outcome(t, hostless, {}), 4501)
    t.match(wary.refusals().at(-1), { origin: pageAt(hostless.port), host: `127.0.0.1:${wary.port}`, hint: /X-Forwarded-Host.*trustProxy/ })
    t.equal(await outcome(t, await startProxy(t, kind, { appPort: trusting.port, change }), {}), 'in', 'X-Forwarded-Host is enough for trustProxy')

    const nameless = await startProxy(t, kind, { appPort: wary.port, change: without(/Host \$http_host/) })
    t.equal(await outcome(t, nameless, {}), 4501)
    t.match(wary.refusals().at(-1), { hint: /changed the Host header.*Host \$http_host.*trustProxy.*`origins`/ })

    const plain = await startProxy(t, kind, { appPort: wary.port, change: without(/Upgrade|"upgrade"/) })
    const socket = new (browser(plain, {}))(`${pageAt(plain.port)}/ws`)
    const [, response] = await once(socket, 'unexpected-response') as [unknown, IncomingMessage]
    t.equal(response.statusCode, 426)
    socket.on('error', () => undefined).terminate()
  }
}

/** Returns a test of a WebSocket over HTTP/2 (RFC 8441). Browsers use it if a proxy offers it, and HAProxy forwards it over HTTP/1.1. */
function overHttp2 (kind: ProxyKind) {
  return async (t: Test): Promise<void> => {
    const { port } = await serve(t)
    const proxy = await startProxy(t, kind, { appPort: port })
    const session = connectHttp2(pageAt(proxy.port), {
      createConnection: () => dialTls({ host: '127.0.0.1', port: proxy.port, servername: HOST, ca: certificate.cert, ALPNProtocols: ['h2'] })
    })
    t.teardown(() => { session.destroy() })
    const [{ enableConnectProtocol }] = await once(session, 'remoteSettings') as [Settings]
    t.equal(enableConnectProtocol, true)
    for (const [origin, text] of [[pageAt(proxy.port), '"type":"connection"'], ['https://evil.example', 'Origin not allowed']] as const) {
      const stream = session.request({
        ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws', origin, cookie: 'sid=1',
        'sec-websocket-version': '13', 'sec-websocket-protocol': 'ai-canvas.v1'
      })
      const [[headers], [data]] = await Promise.all([once(stream, 'response'), once(stream, 'data')]) as [[IncomingHttpHeaders], [Buffer]]
      t.equal(headers[':status'], 200)
      t.match(data.toString(), text, origin)
      stream.destroy()
    }
  }
}

t.test('of the two forms of a proxy in Vite, the long one passes the host on', { buffered: true }, async (t) => {
  const { port, refusals } = await serve(t)
  const target = `ws://127.0.0.1:${port}`
  for (const [form, expected] of [[{ target, ws: true }, 'in'], [target, 4501]] as const) {
    const vite = await createVite({
      configFile: false, logLevel: 'silent', root: t.testdir({}), server: { port: 0, host: '127.0.0.1', proxy: { '/ws': form } }
    })
    t.teardown(() => vite.close())
    await vite.listen()
    const origin = `http://127.0.0.1:${(vite.httpServer!.address() as AddressInfo).port}`
    const client = openRaw(t, `${origin.replace('http', 'ws')}/ws`, { headers: { origin, cookie: 'sid=1' } })
    t.equal(await client.next().then(() => 'in', async () => (await client.closed).code), expected)
  }
  t.match(refusals(), [{ host: `127.0.0.1:${port}`, hint: /changed the Host header/ }])
})

t.test('the README quotes the files', async (t) => {
  for (const { language, block } of proxies) t.same(page.blocks(language).map(({ heading, text }) => [heading, `${text}\n`]), [['Behind a proxy', block]], language)
})

t.test('the timeouts that the blocks give are longer than the heartbeat', async (t) => {
  const seconds = proxies.flatMap(({ block }) => block.match(/(?<=timeout (?!connect)(?:\w+ )?)\d+(?=s\b)/g) ?? []).map(Number)
  t.equal(seconds.length, 4)
  for (const value of seconds) t.ok(value * 1_000 >= 2 * defaults.heartbeatIntervalMs, `${value} s`)
  t.match(chapter, `${defaults.heartbeatIntervalMs / 1_000}-second heartbeat`)
})
