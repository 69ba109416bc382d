import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, Authenticate } from 'ai-canvas-ws'
import { startApp, type StartedApp } from '../support/app.js'
import { carry } from '../support/tokens.js'
import { connect, open, type Closed } from '../support/ws-client.js'

const FOREIGN = 'https://evil.example'
const refused = { code: 4501, reason: 'Origin not allowed' }

/** An app whose users have a cookie, which a browser sends along whatever page opens the socket. */
const byCookie: Authenticate = (request) => request.headers.cookie === 'sid=1' && { userId: 'user_1' }

interface Asked extends StartedApp {
  /** How often the hook was asked. */
  calls: () => number
}

async function startAsked (
  t: Test, authenticate: Authenticate, options: AiCanvasWsOptions = {}, fastify: { trustProxy?: boolean } = {}
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

/** Whether a page of that origin gets in, and otherwise how it is closed. */
async function asPage (
  t: Test, url: string, headers: Record<string, string>, protocols: string[] = []
): Promise<Closed | 'in'> {
  const client = open(t, url, { headers: { cookie: 'sid=1', ...headers }, protocols })
  return client.next().then(() => 'in', () => client.closed)
}

t.test('with a cookie, a page of a foreign origin is refused before anybody is asked who it is', async (t) => {
  const { url, calls } = await startAsked(t, byCookie)
  const foreign = [FOREIGN, 'http://127.0.0.1', 'http://localhost', 'http://127.0.0.1:1', 'null', 'file://', 'about:blank', 'x', '', `${FOREIGN}, ${FOREIGN}`]
  for (const origin of foreign) t.same(await asPage(t, url(), { origin }), refused, JSON.stringify(origin))
  t.equal(calls(), 0)
})

t.test('a name that only looks like the server\'s own is foreign', async (t) => {
  const { url } = await startAsked(t, byCookie)
  const host = 'app.example.com'
  for (const origin of [
    'https://app.example.com.evil.example', 'https://evil.example/app.example.com', 'https://evil-app.example.com', 'https://example.com',
    'https://sub.app.example.com', 'https://app.example.com:8443', 'https://app.example.com@evil.example', 'https://evil.example#app.example.com'
  ]) t.same(await asPage(t, url(), { origin, host }), refused, origin)
})

t.test('a page of the server\'s own host may connect, whatever its scheme and however the host is written', async (t) => {
  const { origin: self, url } = await startAsked(t, byCookie)
  t.equal(await asPage(t, url(), { origin: self.replace('ws', 'http') }), 'in')
  t.equal(await asPage(t, url(), { origin: self.replace('ws', 'https') }), 'in', 'a proxy that ends TLS')
  for (const [origin, host] of [
    ['https://app.example.com', 'app.example.com'], ['https://app.example.com', 'app.example.com:443'], ['http://app.example.com', 'app.example.com:80'],
    ['https://app.example.com', 'APP.example.com'], ['https://app.example.com:8443', 'app.example.com:8443'], ['http://[::1]:3001', '[::1]:3001']
  ] as const) t.equal(await asPage(t, url(), { origin, host }), 'in', `${origin} to ${host}`)
})

t.test('a client that is no browser sends no origin, and may connect', async (t) => {
  const { url } = await startAsked(t, byCookie)
  t.equal(await asPage(t, url(), {}), 'in')
  t.match(await asPage(t, url(), { cookie: 'sid=2' }), { code: 1008 }, 'if it is somebody')
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

t.test('an empty list leaves the server\'s own host', async (t) => {
  const { origin: self, url } = await startAsked(t, byCookie, { origins: [] })
  t.equal(await asPage(t, url(), { origin: self.replace('ws', 'http') }), 'in')
  t.same(await asPage(t, url(), { origin: FOREIGN }), refused)
})

t.test('without authenticate any page may connect, unless origins are listed', async (t) => {
  const anyone = await startApp(t)
  t.equal(await asPage(t, anyone.url(), { origin: FOREIGN }), 'in')
  const listed = await startApp(t, { origins: ['https://app.example.com'] })
  t.same(await asPage(t, listed.url(), { origin: FOREIGN }), refused)
  t.same(await asPage(t, listed.url('?token=x'), { origin: FOREIGN }), refused, 'nobody looks at a token there')
  t.equal(await asPage(t, listed.url(), { origin: 'https://app.example.com' }), 'in')
})

t.test('whoever brings a token that the app goes by may come from anywhere', async (t) => {
  const { url } = await startAsked(t, (_request, { token }) => token === 'good' && { userId: 'user_1' })
  t.equal(await asPage(t, url('?token=good'), { origin: FOREIGN }), 'in')
  t.equal(await asPage(t, url(), { origin: FOREIGN }, carry('good')), 'in')
  t.match(await asPage(t, url('?token=bad'), { origin: FOREIGN }), { code: 1008 })
  t.same(await asPage(t, url('?token='), { origin: FOREIGN }), refused, 'an empty one is none')
  t.same(await asPage(t, url(), { origin: FOREIGN }, ['ai-canvas.v1', 'ai-canvas.token.']), refused, 'here too')
})

t.test('a foreign page can\'t open the door for a cookie by bringing any token beside it', async (t) => {
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
    t.equal(await asPage(t, url('?token=anything'), {}), 'in', `${name}: without an origin it is nobody's page`)
  }
  const { url } = await startAsked(t, (request: FastifyRequest, context) => context.token === undefined && byCookie(request, context))
  t.match(await asPage(t, url('?token=anything'), { origin: FOREIGN }), { code: 1008 }, 'a hook that goes by the token first')
  t.same(await asPage(t, url(), { origin: FOREIGN }), refused)
})

t.test('behind a proxy that is trusted, the host is the one that the browser asked for', async (t) => {
  const forwarded = { origin: 'https://app.example.com', host: 'backend:3001', 'x-forwarded-host': 'app.example.com' }
  const trusting = await startAsked(t, byCookie, {}, { trustProxy: true })
  t.equal(await asPage(t, trusting.url(), forwarded), 'in')
  t.same(await asPage(t, trusting.url(), { ...forwarded, origin: FOREIGN }), refused)
  t.same(await asPage(t, trusting.url(), { ...forwarded, origin: 'https://backend:3001' }), refused)
  const forged = { ...forwarded, 'x-forwarded-host': 'evil.example, app.example.com' }
  t.same(await asPage(t, trusting.url(), { ...forged, origin: FOREIGN }), refused, 'what a client wrote there before the proxy did')
  t.equal(await asPage(t, trusting.url(), forged), 'in')

  const wary = await startAsked(t, byCookie)
  t.same(await asPage(t, wary.url(), forwarded), refused, 'otherwise anybody could write that header')
})

t.test('a page that is refused has seen nothing and followed nothing', async (t) => {
  const { app, url } = await startAsked(t, byCookie)
  const client = open(t, url('?sessionId=s1'), { headers: { origin: FOREIGN, cookie: 'sid=1' } })
  t.same(await client.closed, refused)
  t.same(client.received, [])
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 0 })
  t.match(app.wsManager.getMetrics().closes, { originNotAllowed: 1 })
  await connect(t, url('?sessionId=s1'), { headers: { cookie: 'sid=1' } })
})
