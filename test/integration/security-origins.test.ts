import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import aiCanvasWs, { type AiCanvasWsOptions, type Authenticate } from 'ai-canvas-ws'
import { originOf, startApp, type StartedApp } from '../support/app.js'
import { captureLog } from '../support/log.js'
import { carry } from '../support/tokens.js'
import { connect, open, type Closed } from '../support/ws-client.js'

const FOREIGN = 'https://evil.example'
const refused = { code: 4501, reason: 'Origin not allowed' }

/** An app that authenticates by a cookie, which a browser sends whichever page opens the socket. */
const byCookie: Authenticate = (request) => request.headers.cookie === 'sid=1' && { userId: 'user_1' }

interface Asked extends StartedApp {
  /** The number of calls of the hook. */
  calls: () => number
}

async function startAsked (
  t: Test, authenticate: Authenticate, options: AiCanvasWsOptions = {}, fastify: { trustProxy?: boolean | string } = {}
): Promise<Asked> {
  let calls = 0
  const started = await startApp(t, {
    authenticate: (request, context) => {
      calls++
      return authenticate(request, context)
    },
    authorize: true,
    ...options
  }, fastify)
  return { ...started, calls: () => calls }
}

/** Connects as a page of this origin. Returns whether it was admitted, or else the close code. */
async function asPage (
  t: Test, url: string, headers: Record<string, string>, protocols: string[] = []
): Promise<Closed | 'in'> {
  const client = open(t, url, { headers: { cookie: 'sid=1', ...headers }, protocols })
  return client.next().then(() => 'in', () => client.closed)
}

t.test('with a cookie, a page of a foreign origin is refused before authentication', async (t) => {
  const { url, calls } = await startAsked(t, byCookie)
  const foreign = [FOREIGN, 'http://127.0.0.1', 'http://localhost', 'http://127.0.0.1:1', 'null', 'file://', 'about:blank', 'x', '', `${FOREIGN}, ${FOREIGN}`]
  for (const origin of foreign) t.same(await asPage(t, url(), { origin }), refused, JSON.stringify(origin))
  t.equal(calls(), 0)
})

t.test('a name that only resembles the server\'s own is foreign', async (t) => {
  const { url } = await startAsked(t, byCookie)
  const host = 'app.example.com'
  for (const origin of [
    'https://app.example.com.evil.example', 'https://evil.example/app.example.com', 'https://evil-app.example.com', 'https://example.com',
    'https://sub.app.example.com', 'https://app.example.com:8443', 'https://app.example.com@evil.example', 'https://evil.example#app.example.com'
  ]) t.same(await asPage(t, url(), { origin, host }), refused, origin)
})

t.test('a page of the server\'s own host may connect, whatever its scheme and the spelling of the host', async (t) => {
  const { origin: self, url } = await startAsked(t, byCookie)
  t.equal(await asPage(t, url(), { origin: self.replace('ws', 'http') }), 'in')
  t.equal(await asPage(t, url(), { origin: self.replace('ws', 'https') }), 'in', 'behind a proxy that terminates TLS')
  for (const [origin, host] of [
    ['https://app.example.com', 'app.example.com'], ['https://app.example.com', 'app.example.com:443'], ['http://app.example.com', 'app.example.com:80'],
    ['https://app.example.com', 'APP.example.com'], ['https://app.example.com:8443', 'app.example.com:8443'], ['http://[::1]:3001', '[::1]:3001']
  ] as const) t.equal(await asPage(t, url(), { origin, host }), 'in', `${origin} to ${host}`)
})

t.test('a client that is not a browser sends no origin, and may connect', async (t) => {
  const { url } = await startAsked(t, byCookie)
  t.equal(await asPage(t, url(), {}), 'in')
  t.match(await asPage(t, url(), { cookie: 'sid=2' }), { code: 1008 }, 'if it authenticates')
})

t.test('listed origins may connect too, and no others', async (t) => {
  const { url } = await startAsked(t, byCookie, { origins: ['https://app.example.com', 'http://localhost:5173', 'https://UPPER.example:443/'] })
  for (const origin of ['https://app.example.com', 'http://localhost:5173', 'https://upper.example']) t.equal(await asPage(t, url(), { origin }), 'in', origin)
  for (const origin of [FOREIGN, 'http://app.example.com', 'https://app.example.com:8443', 'http://localhost', 'https://app.example.com.evil.example', 'null']) {
    t.same(await asPage(t, url(), { origin }), refused, origin)
  }
})

t.test('"*" lets any page connect', async (t) => {
  const { url } = await startAsked(t, byCookie, { origins: ['*'] })
  for (const origin of [FOREIGN, 'null']) t.equal(await asPage(t, url(), { origin }), 'in', origin)
})

t.test('an empty list allows only the server\'s own host', async (t) => {
  const { origin: self, url } = await startAsked(t, byCookie, { origins: [] })
  t.equal(await asPage(t, url(), { origin: self.replace('ws', 'http') }), 'in')
  t.same(await asPage(t, url(), { origin: FOREIGN }), refused)
})

t.test('without authenticate any page may connect, unless origins are listed', async (t) => {
  const anyone = await startApp(t)
  t.equal(await asPage(t, anyone.url(), { origin: FOREIGN }), 'in')
  const listed = await startApp(t, { origins: ['https://app.example.com'] })
  t.same(await asPage(t, listed.url(), { origin: FOREIGN }), refused)
  t.same(await asPage(t, listed.url('?token=x'), { origin: FOREIGN }), refused, 'tokens are not examined there')
  t.equal(await asPage(t, listed.url(), { origin: 'https://app.example.com' }), 'in')
})

t.test('a client with a token that the app uses may come from any origin', async (t) => {
  const { url } = await startAsked(t, (_request, { token }) => token === 'good' && { userId: 'user_1' })
  t.equal(await asPage(t, url('?token=good'), { origin: FOREIGN }), 'in')
  t.equal(await asPage(t, url(), { origin: FOREIGN }, carry('good')), 'in')
  t.match(await asPage(t, url('?token=bad'), { origin: FOREIGN }), { code: 1008 })
  t.same(await asPage(t, url('?token='), { origin: FOREIGN }), refused, 'an empty token does not count')
  t.same(await asPage(t, url(), { origin: FOREIGN }, ['ai-canvas.v1', 'ai-canvas.token.']), refused, 'here too')
})

t.test('a foreign page can\'t use a cookie by adding an arbitrary token', async (t) => {
  const hooks: Record<string, Authenticate> = {
    'a hook that knows cookies only': byCookie,
    'one that answers later': async (request, context) => {
      await Promise.resolve()
      return byCookie(request, context)
    }
  }
  for (const [name, hook] of Object.entries(hooks)) {
    const { url } = await startAsked(t, hook)
    t.same(await asPage(t, url('?token=anything'), { origin: FOREIGN }), refused, name)
    t.same(await asPage(t, url(), { origin: FOREIGN }, carry('anything')), refused, name)
    t.same(await asPage(t, url(), { origin: FOREIGN, authorization: 'Bearer anything' }), refused, name)
    t.equal(await asPage(t, url('?token=anything'), {}), 'in', `${name}: without an origin it is not a page`)
  }
  const { url } = await startAsked(t, (request: FastifyRequest, context) => context.token === undefined && byCookie(request, context))
  t.match(await asPage(t, url('?token=anything'), { origin: FOREIGN }), { code: 1008 }, 'a hook that prefers the token')
  t.same(await asPage(t, url(), { origin: FOREIGN }), refused)
})

t.test('behind a trusted proxy the host is the one that the browser requested', async (t) => {
  const forwarded = { origin: 'https://app.example.com', host: 'backend:3001', 'x-forwarded-host': 'app.example.com' }
  const trusting = await startAsked(t, byCookie, {}, { trustProxy: true })
  t.equal(await asPage(t, trusting.url(), forwarded), 'in')
  t.same(await asPage(t, trusting.url(), { ...forwarded, origin: FOREIGN }), refused)
  t.same(await asPage(t, trusting.url(), { ...forwarded, origin: 'https://backend:3001' }), refused)
  const forged = { ...forwarded, 'x-forwarded-host': 'evil.example, app.example.com' }
  t.same(await asPage(t, trusting.url(), { ...forged, origin: FOREIGN }), refused, 'what a client wrote there before the proxy did')
  t.equal(await asPage(t, trusting.url(), forged), 'in')

  const wary = await startAsked(t, byCookie)
  t.same(await asPage(t, wary.url(), forwarded), refused, 'otherwise any client could set that header')
})

t.test('of a list in X-Forwarded-Host the last entry counts; X-Forwarded-Proto and Forwarded are ignored', async (t) => {
  const cases: Array<[Record<string, string>, string, string]> = [
    [{ 'x-forwarded-host': 'a.example, b.example' }, 'https://b.example', 'https://a.example'],
    [{ 'x-forwarded-host': 'a.example,b.example:8443' }, 'https://b.example:8443', 'https://b.example'],
    [{ 'x-forwarded-host': 'b.example:443', 'x-forwarded-proto': 'https, http' }, 'https://b.example', 'https://b.example:80'],
    [{ 'x-forwarded-host': 'b.example', 'x-forwarded-proto': 'https' }, 'http://b.example', 'http://b.example:443'],
    [{ 'x-forwarded-host': 'b.example', forwarded: 'host=a.example;proto=https' }, 'https://b.example', 'https://a.example'],
    [{ forwarded: 'for=192.0.2.1;host="a.example";proto=https' }, 'https://backend:3001', 'https://a.example'],
    [{ 'x-forwarded-host': 'a.example,' }, 'https://other.example', 'https://a.example']
  ]
  for (const trustProxy of [true, '127.0.0.1', '192.0.2.9', false]) {
    const { url } = await startAsked(t, byCookie, { origins: ['https://other.example'] }, { trustProxy })
    const isTrusted = trustProxy === true || trustProxy === '127.0.0.1'
    for (const [headers, own, foreign] of cases) {
      const page = { host: 'backend:3001', ...headers }
      const name = `${JSON.stringify(headers)}, trustProxy ${trustProxy}`
      const isSent = 'x-forwarded-host' in headers && own !== 'https://other.example'
      t.same(await asPage(t, url(), { ...page, origin: own }), isSent && !isTrusted ? refused : 'in', name)
      t.same(await asPage(t, url(), { ...page, origin: foreign }), refused, name)
    }
  }
})

t.test('a page that is refused has received nothing and subscribed to nothing', async (t) => {
  const { app, url } = await startAsked(t, byCookie)
  const client = open(t, url('?sessionId=s1'), { headers: { origin: FOREIGN, cookie: 'sid=1' } })
  t.same(await client.closed, refused)
  t.same(client.received, [])
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 0 })
  t.match(app.wsManager.getMetrics().closes, { originNotAllowed: 1 })
  await connect(t, url('?sessionId=s1'), { headers: { cookie: 'sid=1' } })
})

/** Everything that could tell a hook the browser's user. */
function credentials (request: FastifyRequest): string {
  const { headers, rawHeaders, headersDistinct } = request.raw
  return JSON.stringify([headers, rawHeaders, headersDistinct, request.headers, (request as { session?: unknown }).session])
}

/** Like plugins for cookies and sessions: registered first, it reads the cookie before the plugin's route runs. */
function registerSessions (app: FastifyInstance): void {
  app.decorateRequest('session', null)
  app.addHook('onRequest', (request, _reply, done) => {
    Object.assign(request, { session: { cookie: request.headers.cookie, basic: request.headers.authorization } })
    done()
  })
  app.get('/mine', (request) => ({ session: (request as { session?: unknown }).session }))
}

const ambient = { cookie: 'sid=1', authorization: 'Basic c2lkPTE=', 'proxy-authorization': 'Basic c2lkPTE=', cookie2: 'sid=1' }

t.test('plugins and hooks see a request from a foreign page without the browser\'s credentials', async (t) => {
  const seen: string[] = []
  const authenticate: Authenticate = (request, { token }) => {
    seen.push(credentials(request))
    const { session } = request as unknown as { session: { cookie?: string, basic?: string } }
    // The natural mistake: a session admits the client, and clients without one need a token.
    if (session.cookie === 'sid=1' || session.basic !== undefined || request.raw.headers.cookie !== undefined) return { userId: 'victim' }
    return token === 'good' && { userId: 'guest' }
  }
  for (const prepare of [registerSessions, async (app: FastifyInstance) => {
    await app.register(fastifyWebsocket)
    registerSessions(app)
  }]) {
    const { app, origin: self, url } = await startApp(t, { authenticate, authorize: true }, {}, prepare)
    const came = async (origin: string | undefined, query: string, protocols: string[] = []): Promise<Closed | string | undefined> => {
      const headers = { ...ambient, ...origin !== undefined && { origin } }
      const client = open(t, url(query), { headers, protocols })
      return client.next().then(({ clientId }) => {
        return app.wsManager.getStats().clients.find(({ id }) => id === clientId)?.userId
      }, () => client.closed)
    }
    seen.length = 0
    t.match(await came(FOREIGN, '?token=junk'), { code: 1008 })
    t.match(await came(FOREIGN, '', carry('junk')), { code: 1008 })
    t.match(await came('null', '?token=junk'), { code: 1008 }, 'a sandboxed frame')
    t.equal(await came(FOREIGN, '?token=good'), 'guest')
    t.equal(seen.length, 4)
    for (const text of seen) t.notMatch(text, /sid=1|c2lkPTE|[cC]ookie2?"|uthorization"/)
    t.same(await came(FOREIGN, ''), refused, 'and without a token authentication is not tried')
    t.equal(seen.length, 4)
    t.equal(await came(self.replace('ws', 'http'), '?token=junk'), 'victim', 'a page of the own host has its cookies')
    t.equal(await came(undefined, '?token=junk'), 'victim', 'and so has a client that is not a page')
    const other = await app.inject({ url: '/mine', headers: { ...ambient, origin: FOREIGN } })
    t.match(other.json(), { session: { cookie: 'sid=1' } }, 'the app\'s own routes are not affected')
    const injected = await app.injectWS('/ws?token=good', { headers: { ...ambient, origin: FOREIGN } })
    t.notMatch(seen.at(-1), /sid=1|c2lkPTE/)
    injected.terminate()
  }
})

t.test('a bearer header from a page of a foreign origin does not count, because a page can\'t set it', async (t) => {
  const { url, calls } = await startAsked(t, (_request, { token }) => token === 'good' && { userId: 'user_1' })
  t.same(await asPage(t, url(), { origin: FOREIGN, authorization: 'Bearer good' }), refused)
  t.equal(calls(), 0)
  t.equal(await asPage(t, url(), { authorization: 'Bearer good' }), 'in', 'a client that is not a browser sends no origin')
})

t.test('a page\'s host is the same in early and late checks, also behind proxies', async (t) => {
  const sessions: Authenticate = (request, { token }) => {
    return (token !== undefined && (request as unknown as { session: { cookie?: string } }).session.cookie === 'sid=1') && {}
  }
  const page = { host: 'backend:3001', 'x-forwarded-host': 'app.example.com', ...ambient }
  const enters = async (trustProxy: boolean, scope: boolean, origin: string): Promise<boolean> => {
    const app = Fastify({ trustProxy })
    t.teardown(() => app.close())
    registerSessions(app)
    const register = (instance: FastifyInstance): unknown => instance.register(aiCanvasWs, { authenticate: sessions, authorize: true })
    await (scope ? app.register(async (instance) => { await register(instance) }) : register(app))
    await app.listen({ port: 0, host: '127.0.0.1' })
    const client = open(t, `${originOf(app)}/ws?token=any`, { headers: { ...page, origin } })
    return client.next().then(() => true, () => false)
  }
  for (const scope of [false, true]) {
    t.equal(await enters(true, scope, 'https://app.example.com'), true)
    t.equal(await enters(true, scope, 'https://backend:3001'), false)
    t.equal(await enters(false, scope, 'https://app.example.com'), false)
    t.equal(await enters(false, scope, 'https://backend:3001'), true)
    t.equal(await enters(true, scope, FOREIGN), false)
  }
})

t.test('the app\'s own logger factory is called as usual', async (t) => {
  const asked: string[] = []
  const { url } = await startApp(t, { authenticate: byCookie, authorize: true }, {}, (app) => {
    app.setChildLoggerFactory((logger, bindings, options, raw) => {
      asked.push(`${String(raw.url)} ${String(raw.headers.cookie)}`)
      return logger.child(bindings, options)
    })
  })
  t.equal(await asPage(t, url(), {}), 'in')
  t.same(await asPage(t, url(), { origin: FOREIGN }), refused)
  t.strictSame(asked, ['/ws sid=1', '/ws undefined'])
})

t.test('a wildcard lets pages of every subdomain connect, and no others', async (t) => {
  const { url } = await startAsked(t, byCookie, { origins: ['https://*.example.com', 'http://*.localhost:5173'] })
  for (const origin of ['https://app.example.com', 'https://a.b.c.example.com', 'http://canvas.localhost:5173']) {
    t.equal(await asPage(t, url(), { origin }), 'in', origin)
  }
  for (const origin of [
    'https://example.com', 'http://app.example.com', 'https://app.example.com:8443', 'https://evilexample.com', 'https://app.example.com.evil.example',
    'https://evil.example/.example.com', 'https://evil.example#.example.com', 'https://evil.example?.example.com', 'https://.example.com.', 'null',
    'http://localhost:5173', 'http://canvas.localhost', 'https://canvas.localhost:5173', 'https://*', 'example.com'
  ]) t.same(await asPage(t, url(), { origin }), refused, origin)
})

t.test('the log line of a refused page contains its origin, the requested host and the likely cause', async (t) => {
  const { lines, stream } = captureLog()
  const { url } = await startApp(t, { authenticate: byCookie, authorize: true }, { logger: { level: 'info', stream } })
  t.same(await asPage(t, url(), { origin: FOREIGN, host: 'app.example.com' }), refused)
  t.same(await asPage(t, url('?token=unread'), { origin: 'x'.repeat(1000), host: 'app.example.com' }), refused, 'also if the token was not read')
  const logged = lines.filter(({ msg }) => msg === 'client refused')
  t.match(logged, [
    { code: 4501, origin: FOREIGN, host: 'app.example.com', hint: /Host \$http_host.*trustProxy/ },
    { code: 4501, origin: 'x'.repeat(280), hint: /the page has no host/ }
  ])
  t.equal(logged.length, 2)
  t.equal((logged[1]!.origin as string).length, 280)
})
