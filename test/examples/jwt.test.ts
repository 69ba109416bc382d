import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { build, tokenProtocols, type JwtAppOptions } from '../../examples/jwt.js'
import { connect, open } from '../support/ws-client.js'
import { runExample } from './support/example.js'

const SECRET = 'a secret of this test, long enough'

interface Running {
  app: FastifyInstance
  http: string
  ws: string
}

async function start (t: Test, options: Partial<JwtAppOptions> = {}): Promise<Running> {
  const app = await build({ secret: SECRET, verifyPassword: (userId, password) => password === `${userId}'s`, ...options })
  t.teardown(() => app.close())
  const http = await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, http, ws: `${http.replace('http', 'ws')}/ws` }
}

async function post (url: string, body: object, token?: string): Promise<{ status: number, body: Record<string, unknown> }> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...token !== undefined && { authorization: `Bearer ${token}` } },
    body: JSON.stringify(body)
  })
  return { status: response.status, body: await response.json() as Record<string, unknown> }
}

async function login ({ http }: Running, userId: string): Promise<string> {
  return String((await post(`${http}/login`, { userId, password: `${userId}'s` })).body.token)
}

t.test('there is no default secret', async (t) => {
  for (const secret of [undefined, '', 'secret']) {
    await t.rejects(build({ secret, verifyPassword: () => true }), { message: /^JWT_SECRET must have at least 32 characters: make one with "openssl/ })
  }
})

t.test('a token is given to who knows the password', async (t) => {
  const { http } = await start(t)
  t.match(await post(`${http}/login`, { userId: 'user_1', password: "user_1's" }), { status: 200, body: { token: /^[\w-]+\.[\w-]+\.[\w-]+$/ } })
  t.match(await post(`${http}/login`, { userId: 'user_1', password: 'guess' }), { status: 401, body: { message: 'no such user, or another password' } })
  t.match(await post(`${http}/login`, { userId: 'user_1:x', password: "user_1:x's" }), { status: 400 }, 'an id that could reach into another\'s sessions')
})

t.test('a client brings its token in the subprotocol or in the URL, and follows its own sessions', async (t) => {
  const running = await start(t)
  const token = await login(running, 'user_1')
  const clients = [
    await connect(t, `${running.ws}?sessionId=user_1:draft`, { protocols: tokenProtocols(token) }),
    await connect(t, `${running.ws}?sessionId=user_1:draft&token=${token}`)
  ]
  t.equal(clients[0]?.ws.protocol, 'ai-canvas.v1')

  t.match(await post(`${running.http}/count`, { sessionId: 'user_1:draft', text: ' two  words\n' }, token), { status: 200, body: { words: 2 } })
  for (const client of clients) {
    t.match(await client.next(), { type: 'ai_start', sessionId: 'user_1:draft', task: { mode: 'count' } })
    t.match(await client.next(), { type: 'ai_complete', result: { words: 2, contentLength: 12 } })
  }
})

t.test('another\'s session is forbidden, over the socket and over HTTP', async (t) => {
  const running = await start(t)
  const token = await login(running, 'user_1')
  const client = await connect(t, `${running.ws}?sessionId=user_2:draft`, { protocols: tokenProtocols(token) })
  t.match(await client.next(), { type: 'error', code: 'forbidden' })
  for (const sessionId of ['user_2:draft', 'user_1', 'user_10:draft']) {
    client.send({ type: 'subscribe', sessionId })
    t.match(await client.next(), { type: 'error', code: 'forbidden', sessionId })
    t.match(await post(`${running.http}/count`, { sessionId, text: 'x' }, token), { status: 403, body: { message: /is not yours: use one that begins with "user_1:"/ } })
  }
  client.send({ type: 'subscribe', sessionId: 'user_1:other' })
  t.match(await client.next(), { type: 'subscribed', sessionId: 'user_1:other' })
})

t.test('without a good token nobody gets in', async (t) => {
  const running = await start(t)
  const other = await start(t, { secret: `${SECRET}, but another` })
  const signer = Fastify()
  await signer.register(fastifyJwt, { secret: SECRET })
  const inAMinute = Math.ceil(Date.now() / 1000) + 60
  const unsigned = ['{"alg":"none","typ":"JWT"}', `{"sub":"user_1","exp":${inAMinute}}`, ''].map((part) => Buffer.from(part).toString('base64url')).join('.')
  const tokens: Record<string, string | undefined> = {
    none: undefined,
    empty: '',
    nonsense: 'x',
    'signed by another': await login(other, 'user_1'),
    unsigned,
    stale: signer.jwt.sign({ sub: 'user_1', exp: 1 }),
    'without an end': signer.jwt.sign({ sub: 'user_1' }),
    'without a user': signer.jwt.sign({ exp: inAMinute })
  }
  for (const [name, token] of Object.entries(tokens)) {
    const client = open(t, running.ws, { protocols: token === undefined ? [] : tokenProtocols(token) })
    t.same(await client.closed, { code: 1008, reason: 'Unauthorized' }, name)
    t.match(await post(`${running.http}/count`, { sessionId: 'user_1:draft', text: 'x' }, token ?? ''), { status: 401 }, name)
  }
})

t.test('a connection ends with its token', async (t) => {
  const running = await start(t, { tokenSeconds: 1 })
  const client = await connect(t, running.ws, { protocols: tokenProtocols(await login(running, 'user_1')) })
  t.match(await client.closed, { code: 4002 })
})

t.test('it runs by itself, but not without its secrets', async (t) => {
  const [code, , errors] = await runExample(t, { PORT: '0', LOGIN_PASSWORD: 'x', JWT_SECRET: '' }, 'examples/jwt.ts').ended
  t.equal(code, 1)
  t.match(errors, 'JWT_SECRET must have at least 32 characters')
  const port = await runExample(t, { PORT: '0', LOGIN_PASSWORD: 'open sesame', JWT_SECRET: SECRET }, 'examples/jwt.ts').port
  t.match(await post(`http://127.0.0.1:${port}/login`, { userId: 'user_1', password: 'open sesame' }), { status: 200, body: { token: String } })
  t.match(await post(`http://127.0.0.1:${port}/login`, { userId: 'user_1', password: 'open' }), { status: 401 })
})
