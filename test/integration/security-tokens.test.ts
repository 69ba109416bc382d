import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createConnection, type Socket } from 'node:net'
import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import aiCanvasWs, { redactedRequest, type AiCanvasWsOptions, type Authenticate } from 'ai-canvas-ws'
import { originOf, startApp, type StartedApp } from '../support/app.js'
import { captureLog } from '../support/log.js'
import { carrier, carry } from '../support/tokens.js'
import { connect, open } from '../support/ws-client.js'

/** Looks like a JWT, and shares no part with the base64url of another text. */
const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg'

/** Admits every client with a token, and records the tokens. */
async function startNoting (t: Test, prepare?: (app: FastifyInstance) => unknown): Promise<StartedApp & { seen: unknown[] }> {
  const seen: unknown[] = []
  const authenticate: Authenticate = (_request, { token }) => {
    seen.push(token)
    return token !== undefined && {}
  }
  return { ...await startApp(t, { authenticate, authorize: true }, {}, prepare), seen }
}

t.test('a token in the subprotocol is decoded unchanged, whatever its characters', async (t) => {
  const { url, seen } = await startNoting(t)
  const tokens = [TOKEN, 'x', 'a+b/c==', 'with spaces, commas; and "quotes"', 'ünïcödé ✓ 🚀', 'null \u0000 and \n line', '?????>>>>>', 'x'.repeat(4096)]
  for (const token of tokens) await connect(t, url(), { protocols: carry(token) })
  t.same(seen, tokens)
})

t.test('a token may also come as a bearer header or in the query, and the subprotocol has precedence', async (t) => {
  const { url, seen } = await startNoting(t)
  const headers = { authorization: 'Bearer from.the.header' }
  await connect(t, url('?token=from.the.query'))
  await connect(t, url('?token=a%2Bb%2Fc%3D%3D%20%E2%9C%93'))
  await connect(t, url(), { headers })
  await connect(t, url(), { headers: { authorization: 'bearer lower case' } })
  await connect(t, url('?token=from.the.query'), { headers })
  await connect(t, url('?token=from.the.query'), { headers, protocols: carry('from.the.subprotocol') })
  t.same(seen, ['from.the.query', 'a+b/c== ✓', 'from.the.header', 'lower case', 'from.the.header', 'from.the.subprotocol'])
})

t.test('an empty or duplicate token or one of another scheme does not count', async (t) => {
  const { url, seen } = await startNoting(t)
  const empty = [
    open(t, url()), open(t, url('?token=')), open(t, url('?token')), open(t, url('?token=a&token=b')),
    open(t, url(), { headers: { authorization: 'Basic dXNlcjpwYXNz' } }), open(t, url(), { headers: { authorization: 'Bearer' } }),
    open(t, url(), { protocols: ['ai-canvas.v1', 'ai-canvas.token.'] }), open(t, url(), { protocols: ['ai-canvas.v1', 'ai-canvas.token.!'] })
  ]
  for (const client of empty) t.match(await Promise.race([client.closed, client.next().catch(() => client.closed)]), { code: 1008 })
  t.strictSame(seen, empty.map(() => undefined))
})

/** Returns the server's reply to an offer, read from the response, because a client might abort because of it. */
async function chosen (t: Test, url: string, protocols: string[]): Promise<string | undefined> {
  const client = open(t, url, { protocols })
  const [answer] = await once(client.ws, 'upgrade') as [IncomingMessage]
  t.notMatch(answer.rawHeaders.join('\n'), 'ai-canvas.token')
  return answer.headers['sec-websocket-protocol']
}

t.test('the token is never echoed, whatever the order of the offers', async (t) => {
  const token = carrier(TOKEN)
  const ours = await startNoting(t)
  const theirs = await startNoting(t, (app) => app.register(fastifyWebsocket))
  for (const { url } of [ours, theirs]) {
    t.equal(await chosen(t, url(), ['ai-canvas.v1', token]), 'ai-canvas.v1')
    t.equal(await chosen(t, url(), [token, 'ai-canvas.v1']), 'ai-canvas.v1')
    t.equal(await chosen(t, url(), ['chat', token, 'ai-canvas.v1']), 'ai-canvas.v1')
    t.equal(await chosen(t, url(), ['ai-canvas.v1']), 'ai-canvas.v1')
    t.equal(await chosen(t, url(), [token, 'chat', 'news']), 'chat')
    t.equal(await chosen(t, url(), [token]), undefined)
    t.equal(await chosen(t, url(), []), undefined)
  }
})

t.test('an app that selects the subprotocol itself keeps its choice', async (t) => {
  const handleProtocols = (): string => 'news'
  const given = await startApp(t, { websocket: { handleProtocols } })
  const registered = await startApp(t, {}, {}, (app) => app.register(fastifyWebsocket, { options: { handleProtocols } }))
  for (const { url } of [given, registered]) t.equal(await chosen(t, url(), ['ai-canvas.v1', 'news']), 'news')
})

type RequestSerializer = (request: FastifyRequest) => Record<string, unknown>

interface Logged extends StartedApp {
  /** All log lines, as they were written. */
  text: () => string
  messages: () => string[]
}

async function startLogged (t: Test, options: AiCanvasWsOptions, req?: RequestSerializer): Promise<Logged> {
  const { lines, stream } = captureLog()
  const started = await startApp(t, { authorize: true, ...options }, {
    logger: { level: 'trace', stream, ...req !== undefined && { serializers: { req } } }
  })
  return { ...started, text: () => lines.map((line) => JSON.stringify(line)).join('\n'), messages: () => lines.map(({ msg }) => msg) }
}

/** Asserts that a text contains no form and no segment of the token. */
function holdsNoToken (t: Test, text: string, name: string): void {
  for (const piece of [...TOKEN.split('.'), Buffer.from(TOKEN).toString('base64url').slice(0, 24)]) {
    t.notOk(text.includes(piece), `${name}: ${piece}`)
  }
}

/**
 * Connects with the token in each possible way, and in all at once. Resolves when all have been refused, or connected and
 * closed.
 */
async function comeInAllWays (t: Test, { url }: StartedApp): Promise<void> {
  const headers = { authorization: `Bearer ${TOKEN}` }
  const clients = [
    open(t, url(`?token=${TOKEN}`)),
    open(t, url(`?sessionId=s1&token=${TOKEN}&userId=user_1`)),
    open(t, url(`?%74oken=${TOKEN}`)),
    open(t, url(`?TOKEN=${TOKEN}`)),
    open(t, url(`?token=${TOKEN}&token=${TOKEN}`)),
    open(t, url(), { protocols: carry(TOKEN) }),
    open(t, url(), { headers }),
    open(t, url(`?token=${TOKEN}`), { headers, protocols: carry(TOKEN) })
  ]
  for (const client of clients) {
    await Promise.race([client.next().then(() => client.close(), () => undefined), client.closed])
    await client.closed
  }
}

t.test('no log line of the route contains a token, at any level and with any outcome', async (t) => {
  const verdicts: Record<string, Authenticate> = {
    'let in': (_request, { token }) => token !== undefined && {},
    'refused': () => false,
    'failing': () => { throw Object.assign(new Error('the database is down'), { statusCode: 500 }) }
  }
  for (const [name, authenticate] of Object.entries(verdicts)) {
    const logged = await startLogged(t, { authenticate })
    await comeInAllWays(t, logged)
    await logged.app.inject(`/ws?token=${TOKEN}`)
    t.match(logged.text(), /"url":"\/ws\?sessionId=s1&token=\[redacted\]&userId=user_1"/, `${name}: the rest of the URL is logged`)
    holdsNoToken(t, logged.text(), name)
  }
})

t.test('an app\'s own request serializer is kept, and the token is removed from its output', async (t) => {
  class Described {
    readonly #request: FastifyRequest
    constructor (request: FastifyRequest) { this.#request = request }
    toJSON (): object { return { path: this.#request.url, mine: 'yes' } }
  }
  const serializers: Record<string, (request: FastifyRequest) => unknown> = {
    'fields': (request) => ({ url: request.url, mine: 'yes' }),
    'a text': ({ method, url }) => `mine: ${method} ${url}`,
    'everything, as pino does': ({ id, url, query, headers }) => ({ id, url, query, headers, mine: 'yes' }),
    'deep inside': ({ url, raw }) => ({ mine: 'yes', http: { request: { url, lines: [[raw.url]], headers: raw.rawHeaders } } }),
    'deeper than anybody reads': ({ url }) => ({ mine: 'yes', a: { b: { c: { d: { e: { f: url } } } } } }),
    'an object that writes itself': (request) => new Described(request),
    'nothing at all': () => null,
    'a number': () => 7
  }
  for (const [name, req] of Object.entries(serializers)) {
    const logged = await startLogged(t, { authenticate: (_request, { token }) => token !== undefined && {} }, req as RequestSerializer)
    await comeInAllWays(t, logged)
    if (!['nothing at all', 'a number'].includes(name)) t.match(logged.text(), /mine/, name)
    holdsNoToken(t, logged.text(), name)
  }
})

/** Every place of a token in a URL. Routers read the parameter differently, and it is hidden in all cases. */
const QUERIES = [
  `?token=${TOKEN}`, `?%74oken=${TOKEN}&a=b`, `?TOKEN=${TOKEN}`, `?x#token=${TOKEN}`, `?x=1#token=${TOKEN}`, `#token=${TOKEN}`, `;token=${TOKEN}`,
  `?token[]=${TOKEN}`, `?token%5B%5D=${TOKEN}`, `?token[a]=${TOKEN}`, `?token=${TOKEN}&token=${TOKEN}`, `?x=1?token=${TOKEN}`, `?token=a;${TOKEN}`
]

/** Sends a request verbatim, because clients normalize URLs. Resolves when the response has arrived. */
async function sendAsWritten (t: Test, origin: string, method: string, path: string, upgrades: boolean): Promise<void> {
  const socket = createConnection(Number(new URL(origin).port), '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  const headers = upgrades
    ? ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${'x'.repeat(22)}==`]
    : ['Connection: close']
  socket.write([`${method} ${path} HTTP/1.1`, 'Host: app', ...headers, '', ''].join('\r\n'))
  socket.on('error', () => { /* the close proves it */ })
  socket.once('data', () => { socket.destroy() })
  await once(socket, 'close')
}

t.test('no log line of Fastify contains a token, whatever a request\'s path, method and scope, without any setup', async (t) => {
  for (const scoped of [false, true]) {
    for (const serializer of [undefined, redactedRequest]) {
      const { lines, stream } = captureLog()
      const app = Fastify({ logger: { level: 'trace', stream, ...serializer && { serializers: { req: serializer } } } })
      const sockets: Socket[] = []
      app.server.on('connection', (socket: Socket) => { sockets.push(socket) })
      app.get('/own', () => ({}))
      app.post('/own', () => ({}))
      const options = { authenticate: () => ({}), authorize: true, closeTimeoutMs: 100 } as const
      if (scoped) {
        await app.register(async (scope) => {
          await scope.register(aiCanvasWs, options)
          scope.get('/own', () => ({}))
        }, { prefix: '/v1' })
      } else {
        await app.register(aiCanvasWs, options)
      }
      await app.register(async (scope) => {
        scope.get('/own', () => ({}))
        scope.setNotFoundHandler((request, reply) => {
          request.log.info(`nothing at ${request.url}`)
          reply.code(404).send({ url: request.url })
        })
      }, { prefix: '/other' })
      await app.listen({ port: 0, host: '127.0.0.1' })
      const origin = originOf(app)
      const paths = ['/ws', '/ws/', '//ws', '/WS', '/ws/x', '/own', '/other/own', '/other/none', '/api/ws/stats', '/nowhere', '/v1/ws', '/v1/ws/', '/v1/own', '/v1/none']
      const sent: Array<Promise<void>> = []
      for (const path of paths) {
        for (const query of QUERIES) sent.push(sendAsWritten(t, origin, 'GET', path + query, false))
        for (const query of QUERIES.slice(0, 4)) sent.push(sendAsWritten(t, origin, 'GET', path + query, true), sendAsWritten(t, origin, 'POST', path + query, false))
        await Promise.all(sent)
      }
      const text = lines.map((line) => JSON.stringify(line)).join('\n')
      const name = `${scoped ? 'in a scope' : 'at the root'}, ${serializer === undefined ? 'with Fastify\'s serializer' : 'with ours'}`
      holdsNoToken(t, text, name)
      t.match(text, /Route GET:\/\/ws\?token=\[redacted\] not found/, 'Fastify\'s other fields are still logged')
      t.match(text, /Route POST:\/ws\?token=\[redacted\] not found/)
      t.match(text, /nothing at \/other\/none\?token=\[redacted\]/)
      t.match(text, new RegExp(`"path":"/${scoped ? 'v1' : 'other'}/own\\?token=\\[redacted\\]","msg":"closed incoming websocket connection`))
      // An upgrade that was answered as a plain request may leave a socket that is never read.
      for (const socket of sockets) socket.destroy()
      await app.close()
    }
  }
})

t.test('an app\'s own reply serializer is kept, and the token is removed from its output', async (t) => {
  const { lines, stream } = captureLog()
  const serializers = {
    res: (reply: { statusCode?: number }) => ({ statusCode: reply.statusCode ?? 0, url: (reply as FastifyReply).request.url }),
    path: (path: unknown) => `at ${String(path)}`
  }
  const { app } = await startApp(t, {}, { logger: { stream, serializers } })
  await app.inject(`/nowhere?token=${TOKEN}`)
  app.log.info({ path: '/x' }, 'the app says')
  t.match(lines.find(({ msg }) => msg === 'request completed'), { res: { statusCode: 404, url: '/nowhere?token=[redacted]' } })
  t.match(lines.at(-1), { path: 'at /x' })
})

t.test('other log lines are not changed', async (t) => {
  const { lines, stream } = captureLog()
  const { app } = await startApp(t, {}, { logger: { stream } }, (app) => {
    app.get('/own', (request) => {
      request.log.info({ path: ['/x?token=y'], n: 1 }, 'told %s', 'so')
      request.log.level = 'warn'
      t.equal(request.log.level, 'warn')
      request.log.child({ a: 1 }).warn('child')
      return request.query
    })
  })
  t.same((await app.inject('/own?token=abc&b=c')).json(), { token: 'abc', b: 'c' })
  t.match(lines.find(({ n }) => n === 1), { path: ['/x?token=y'], msg: 'told so' })
  t.match(lines.find(({ a }) => a === 1), { msg: 'child' })
})

t.test('URLs of other routes keep their parameters, because handlers need them', async (t) => {
  const { app } = await startApp(t, {}, {}, (app) => {
    app.setNotFoundHandler((request, reply) => reply.code(404).send({ url: request.url }))
    app.get('/ws-login', (request) => ({ url: request.url }))
  })
  for (const url of ['/reset?token=abc', '/ws-login?token=abc']) t.same((await app.inject(url)).json(), { url })
})

t.test('the exported serializer also accepts Node\'s own request', async (t) => {
  const logged = await startLogged(t, {
    authenticate: (request) => {
      request.log.info({ req: request.raw }, 'as Node has it')
      return false
    }
  }, redactedRequest)
  await comeInAllWays(t, logged)
  t.ok(logged.messages().includes('as Node has it'))
  holdsNoToken(t, logged.text(), 'raw')
})

t.test('an error that quotes the token, complete, in part or re-encoded, is logged without it', async (t) => {
  const [head, payload] = TOKEN.split('.') as [string, string]
  const quotations = [
    `bad token ${TOKEN}`, `bad token "${TOKEN}"!`, `cannot read segment '${head}'`, `unexpected ${payload.slice(0, 12)}… in token`,
    `Authorization: Bearer ${TOKEN}`, `?token=${TOKEN}`, `offered ai-canvas.v1, ${carrier(TOKEN)}`,
    `twice: ${TOKEN} and ${TOKEN}`, JSON.stringify({ token: TOKEN })
  ]
  let thrown: unknown
  const logged = await startLogged(t, { authenticate: () => { throw thrown } })
  for (const text of quotations) {
    for (const error of [new Error(text), Object.assign(new Error(text), { statusCode: 503 }), text, new Error('outer', { cause: new Error(text) })]) {
      thrown = error
      await open(t, logged.url(`?token=${TOKEN}`)).closed
      await open(t, logged.url(), { protocols: carry(TOKEN) }).closed
    }
  }
  t.match(logged.text(), /bad token \[redacted\]/, 'the rest of the message is logged')
  holdsNoToken(t, logged.text(), 'quoted')
})

t.test('unusual tokens are removed from errors in all their encodings', async (t) => {
  const logged = await startLogged(t, {
    authenticate: (_request, { token = '' }) => { throw new Error([token, JSON.stringify(token), encodeURIComponent(token)].join(' | ')) }
  })
  for (const token of ['pässwörd "with" 💥', 'line\nbreak', 'a b', 'short']) {
    await open(t, logged.url(), { protocols: carry(token) }).closed
    for (const form of [token, JSON.stringify(token).slice(1, -1), encodeURIComponent(token)]) t.notOk(logged.text().includes(form), form)
  }
})

t.test('no message to any client contains a token', async (t) => {
  const { app, url } = await startApp(t, { authenticate: (_request, { token }) => ({ userId: 'user_1', token }), authorize: true })
  const watcher = await connect(t, url('?sessionId=s1'))
  const client = await connect(t, url('?sessionId=s1'), { protocols: carry(TOKEN) })
  client.send({ type: 'nonsense' })
  await client.sync()
  await watcher.sync()
  holdsNoToken(t, [...client.received, ...watcher.received].join('\n'), 'messages')
  holdsNoToken(t, JSON.stringify(app.wsManager.getStats()), 'stats')
})
