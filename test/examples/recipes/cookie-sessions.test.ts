import t, { type Test } from 'tap'
import { connect, open } from '../../support/ws-client.js'
import { post, runRecipe, startRecipe, whyNot, type Recipe } from './support.js'

const skip = whyNot()
const SECRET = 'a secret of this test, long enough'

const start = (t: Test, env: NodeJS.ProcessEnv = {}): Promise<Recipe> =>
  startRecipe(t, 'cookie-sessions', { SESSION_SECRET: SECRET, LOGIN_PASSWORD: 'sesame', ...env })

const login = (url: string, userId: string, headers: Record<string, string> = {}): Promise<Response> => fetch(`${url}/login`, {
  method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ userId, password: 'sesame' })
})

const cookieOf = (response: Response): string => response.headers.getSetCookie().map((cookie) => cookie.split(';')[0]).join('; ')

t.test('it does not start without its secrets', { skip }, async (t) => {
  t.match(await runRecipe(t, 'cookie-sessions', { SESSION_SECRET: 'short', LOGIN_PASSWORD: 'sesame' }).ended, { code: 1, output: /SESSION_SECRET must have/ })
  t.match(await runRecipe(t, 'cookie-sessions', { SESSION_SECRET: SECRET }).ended, { code: 1, output: /LOGIN_PASSWORD is not set/ })
})

t.test('the session\'s cookie lets a page of this host follow its user\'s session, also late', { skip }, async (t) => {
  const { url, ws } = await start(t)
  const response = await login(url, 'ada')
  t.match(response.headers.get('set-cookie'), /^sid=[^;]+; .*HttpOnly; SameSite=Lax/)
  const headers = { cookie: cookieOf(response) }
  const client = await connect(t, `${ws}?sessionId=ada:words`, { headers, origin: url })
  t.match(await post(`${url}/count`, { text: 'two words' }, headers), { status: 200, body: { words: 2 } })
  t.match(await client.nextOf('ai_complete'), { result: { words: 2 } })
  const late = await connect(t, `${ws}?sessionId=ada:words`, { headers, origin: url })
  t.match(await late.next(), { type: 'ai_complete', result: { words: 2 }, replayed: 'snapshot' })
  for (const sessionId of ['bob:words', 'ada', ':x', 'adam:words']) {
    late.send({ type: 'subscribe', sessionId })
    t.match(await late.next(), { type: 'error', code: 'forbidden', sessionId })
  }
})

t.test('a page of another host is refused, with the right cookie too', { skip }, async (t) => {
  const { url, ws } = await start(t)
  const headers = { cookie: cookieOf(await login(url, 'ada')) }
  for (const origin of ['https://evil.example', 'http://127.0.0.1:1', 'null']) {
    t.match(await open(t, ws, { headers, origin }).closed, { code: 4501 }, origin)
  }
  for (const from of ['cross-site', 'same-site', 'none']) {
    for (const path of ['/count', '/login', '/logout']) {
      t.match(await post(`${url}${path}`, { text: 'x' }, { ...headers, 'sec-fetch-site': from }), { status: 403 }, `${from} ${path}`)
    }
  }
  await connect(t, ws, { headers, origin: url })
})

t.test('without a session nobody is let in', { skip }, async (t) => {
  const { url, ws } = await start(t)
  t.match(await post(`${url}/login`, { userId: 'ada', password: 'guess' }), { status: 401 })
  t.match(await post(`${url}/count`, { text: 'x' }), { status: 401 })
  const [name, value = ''] = cookieOf(await login(url, 'ada')).split('=')
  for (const cookie of ['', 'sid=x', `${name!}=${value}x`, `other=${value}`]) t.match(await open(t, ws, { headers: { cookie } }).closed, { code: 1008 }, cookie)
})

t.test('a login makes a new session, and a logout ends it with its connections', { skip }, async (t) => {
  const { url, ws } = await start(t)
  const planted = cookieOf(await login(url, 'mallory'))
  const cookie = cookieOf(await login(url, 'ada', { cookie: planted }))
  t.not(cookie, planted)
  t.match(await open(t, ws, { headers: { cookie: planted } }).closed, { code: 1008 })
  const client = await connect(t, ws, { headers: { cookie } })
  t.match(await fetch(`${url}/logout`, { method: 'POST', headers: { cookie } }), { status: 204 })
  t.match(await client.closed, { code: 4502 })
  t.match(await open(t, ws, { headers: { cookie } }).closed, { code: 1008 })
})

t.test('a connection ends with its session', { skip }, async (t) => {
  const { url, ws } = await start(t, { SESSION_SECONDS: '2' })
  const headers = { cookie: cookieOf(await login(url, 'ada')) }
  const client = await connect(t, ws, { headers })
  t.match(await client.closed, { code: 4002 })
  t.match(await open(t, ws, { headers }).closed, { code: 1008 })
})
