import { createHmac } from 'node:crypto'
import t, { type Test } from 'tap'
import { until } from '../../support/until.js'
import { connect, open } from '../../support/ws-client.js'
import { post, runRecipe, startRecipe, whyNot, type Program, type Recipe } from './support.js'

const SECRET = 'a secret of this test, long enough'

const start = (t: Test, env: NodeJS.ProcessEnv = {}): Promise<Recipe> => startRecipe(t, 'jwt', { JWT_SECRET: SECRET, LOGIN_PASSWORD: 'sesame', ...env })

async function login ({ url }: Recipe, userId: string): Promise<string> {
  return String((await post(`${url}/login`, { userId, password: 'sesame' })).body.token)
}

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

const base64url = (value: string): string => Buffer.from(value).toString('base64url')

const protocolsOf = (token: string): string[] => ['ai-canvas.v1', `ai-canvas.token.${base64url(token)}`]

function sign (claims: object): string {
  const body = ['{"alg":"HS256","typ":"JWT"}', JSON.stringify(claims)].map(base64url).join('.')
  return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`
}

const skip = whyNot()

t.test('it does not start without its secrets', { skip }, async (t) => {
  for (const JWT_SECRET of [undefined, '', 'secret']) {
    const { code, output } = await runRecipe(t, 'jwt', { JWT_SECRET, LOGIN_PASSWORD: 'sesame' }).ended
    t.equal(code, 1)
    t.match(output, 'JWT_SECRET must have at least 32 characters: make one with "openssl')
  }
  t.match(await runRecipe(t, 'jwt', { JWT_SECRET: SECRET }).ended, { code: 1, output: /LOGIN_PASSWORD is not set/ })
})

t.test('a client brings its token in any of the three ways, and follows its own sessions, also late', { skip }, async (t) => {
  const recipe = await start(t)
  const { url, ws } = recipe
  t.match(await post(`${url}/login`, { userId: 'user_1', password: 'guess' }), { status: 401 })
  t.match(await post(`${url}/login`, { userId: 'user_1:x', password: 'sesame' }), { status: 400 }, 'an id that reaches into the sessions of another user')
  const token = await login(recipe, 'user_1')
  const target = `${ws}?sessionId=user_1:draft`
  const clients = await Promise.all([
    connect(t, target, { protocols: protocolsOf(token) }), connect(t, `${target}&token=${token}`), connect(t, target, { headers: bearer(token) })
  ])
  t.match(await post(`${url}/count`, { sessionId: 'user_1:draft', text: ' two  words\n' }, bearer(token)), { status: 200, body: { words: 2 } })
  for (const client of clients) {
    t.match(await client.next(), { type: 'ai_start', sessionId: 'user_1:draft', task: { mode: 'count' } })
    t.match(await client.next(), { type: 'ai_complete', result: { words: 2, contentLength: 12 } })
  }
  const late = await connect(t, target, { protocols: protocolsOf(token) })
  t.match(await late.next(), { type: 'ai_complete', result: { words: 2 }, replayed: 'snapshot' })
  t.notMatch(recipe.output, token, 'no token is logged')
})

t.test('another user\'s session is forbidden, over the socket and over HTTP', { skip }, async (t) => {
  const recipe = await start(t)
  const token = await login(recipe, 'user_1')
  const client = await connect(t, `${recipe.ws}?sessionId=user_2:draft`, { protocols: protocolsOf(token) })
  t.match(await client.next(), { type: 'error', code: 'forbidden' })
  for (const sessionId of ['user_2:draft', 'user_1', 'user_10:draft']) {
    client.send({ type: 'subscribe', sessionId })
    t.match(await client.next(), { type: 'error', code: 'forbidden', sessionId })
    t.match(await post(`${recipe.url}/count`, { sessionId, text: 'x' }, bearer(token)), { status: 403, body: { message: /is not yours/ } })
  }
})

t.test('without a valid token nobody is let in', { skip }, async (t) => {
  const { url, ws } = await start(t)
  const exp = Math.ceil(Date.now() / 1000) + 60
  const other = await start(t, { JWT_SECRET: `${SECRET}, but another` })
  const tokens: Record<string, string | undefined> = {
    none: undefined,
    empty: '',
    nonsense: 'x',
    'signed by another': await login(other, 'user_1'),
    unsigned: ['{"alg":"none","typ":"JWT"}', `{"sub":"user_1","exp":${exp}}`, ''].map(base64url).join('.'),
    expired: sign({ sub: 'user_1', exp: 1 }),
    'without an end': sign({ sub: 'user_1' }),
    'without a user': sign({ exp })
  }
  for (const [name, token] of Object.entries(tokens)) {
    const client = open(t, ws, { protocols: token === undefined ? [] : protocolsOf(token) })
    t.same(await client.closed, { code: 1008, reason: 'Unauthorized' }, name)
    t.match(await post(`${url}/count`, { sessionId: 'user_1:draft', text: 'x' }, bearer(token ?? '')), { status: 401 }, name)
  }
  await connect(t, ws, { protocols: protocolsOf(sign({ sub: 'user_1', exp })) })
})

t.test('a connection ends with its token', { skip }, async (t) => {
  const recipe = await start(t, { TOKEN_SECONDS: '2' })
  const client = await connect(t, recipe.ws, { protocols: protocolsOf(await login(recipe, 'user_1')) })
  t.match(await client.closed, { code: 4002 })
})

t.test('its client logs in, and comes back with a new token', { skip }, async (t) => {
  const server = await start(t, { TOKEN_SECONDS: '2' })
  const follow = (LOGIN_PASSWORD: string): Program =>
    runRecipe(t, 'jwt', { SERVER: server.url, LOGIN_PASSWORD }, { script: 'follow', args: ['user_1:draft'] })
  const client = follow('sesame')
  await client.wrote(/"type":"connection"/)
  await post(`${server.url}/count`, { sessionId: 'user_1:draft', text: 'two words' }, bearer(await login(server, 'user_1')))
  await client.line(/"type":"ai_complete".*"words":2/)
  await client.wrote(/(?:"type":"connection"[^]*){2}/)
  await client.stop()
  const refused = follow('guess')
  await until(() => refused.output.includes('the login failed with 401'))
})
