import fastifyJwt from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { redactedRequest } from 'ai-canvas-ws'
import { startApp, type StartedApp } from '../support/app.js'
import { captureLog, type Line } from '../support/log.js'
import { carry } from '../support/tokens.js'
import { connect, open } from '../support/ws-client.js'

const SECRET = 'a secret of this test, long enough'

interface Claims { sub: string, exp: number }

/** The app of the chapter on security in lib/fastify/README.md, with all its log lines. `unit` is the unit of `exp`, in ms. */
async function start (t: Test, unit = 1000): Promise<StartedApp & { lines: Line[], sign: (claims: object) => string }> {
  const { lines, stream } = captureLog()
  let app: FastifyInstance | undefined
  const started = await startApp(t, {
    authenticate: (_request, { token }) => {
      if (token === undefined) return false
      const { sub, exp } = app!.jwt.verify<Claims>(token)
      return { userId: sub, expiresAt: exp * unit }
    },
    authorize: ({ userId }, { sessionId }) => sessionId.startsWith(`${String(userId)}:`)
  }, { logger: { level: 'trace', stream, serializers: { req: redactedRequest } } }, async (instance) => {
    app = instance
    await instance.register(fastifyJwt, { secret: SECRET, verify: { algorithms: ['HS256'], requiredClaims: ['sub', 'exp'] } })
  })
  return { ...started, lines, sign: (claims) => started.app.jwt.sign(claims) }
}

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds

t.test('a JWT admits its user wherever it is sent, and the user subscribes to own sessions', async (t) => {
  const { app, url, sign } = await start(t)
  const token = sign({ sub: 'user_1', exp: inSeconds(60) })
  const clients = [
    await connect(t, url('?sessionId=user_1:draft'), { protocols: carry(token) }),
    await connect(t, url(`?sessionId=user_1:draft&token=${token}`)),
    await connect(t, url('?sessionId=user_1:draft&userId=user_1'), { headers: { authorization: `Bearer ${token}` } })
  ]
  t.match(await app.wsManager.notifyAIComplete('user_1:draft', { chunks: 1 }), { recipients: 3 })
  for (const client of clients) t.match(await client.next(), { type: 'ai_complete', sessionId: 'user_1:draft' })
  const curious = await connect(t, url('?sessionId=user_2:draft'), { protocols: carry(token) })
  t.match(await curious.next(), { type: 'error', code: 'forbidden' })
})

t.test('a forged, modified, expired or incomplete JWT does not, and no part of it is logged', async (t) => {
  const { url, sign, lines } = await start(t)
  const other = await start(t)
  const good = sign({ sub: 'user_1', exp: inSeconds(60) })
  const [head, , signature] = good.split('.') as [string, string, string]
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const wrong: Record<string, string> = {
    'signed by another': other.app.jwt.sign({ sub: 'user_1', exp: inSeconds(60) }, { key: `${SECRET}, but another` }),
    'another user\'s name under a good signature': [head, encode({ sub: 'user_2', exp: inSeconds(60) }), signature].join('.'),
    'unsigned': [encode({ alg: 'none', typ: 'JWT' }), encode({ sub: 'user_1', exp: inSeconds(60) }), ''].join('.'),
    'of another algorithm': sign({ sub: 'user_1', exp: inSeconds(60) }).replace(head, encode({ alg: 'HS512', typ: 'JWT' })),
    'stale': sign({ sub: 'user_1', exp: inSeconds(-60) }),
    'without an end': sign({ sub: 'user_1' }),
    'without a user': sign({ exp: inSeconds(60) }),
    'of half a length': good.slice(0, good.length / 2),
    'no JWT': 'correct-horse-battery-staple',
    'no text': '\u0000\u0001\u0002 not even text'
  }
  for (const [name, token] of Object.entries(wrong)) {
    for (const client of [open(t, url(), { protocols: carry(token) }), open(t, url(`?token=${encodeURIComponent(token)}`))]) {
      const verdict = await Promise.race([client.closed, client.next().catch(() => client.closed)])
      t.same(verdict, { code: 1008, reason: 'Unauthorized' }, name)
    }
    const written = lines.map((line) => JSON.stringify(line)).join('\n')
    for (const part of token.split('.').filter(({ length }) => length > 8)) t.notOk(written.includes(part), name)
  }
  t.equal(lines.filter(({ msg }) => msg === 'authenticate refused a client').length, 2 * Object.keys(wrong).length, 'the refusal is logged')
})

t.test('a connection ends with its token, and a fresh token recovers the session', async (t) => {
  const { app, url, sign } = await start(t)
  const first = await connect(t, url('?sessionId=user_1:draft'), { protocols: carry(sign({ sub: 'user_1', exp: inSeconds(2) })) })
  t.match(await first.closed, { code: 4002 })
  const stale = open(t, url(), { protocols: carry(sign({ sub: 'user_1', exp: inSeconds(-1) })) })
  t.match(await stale.closed, { code: 1008 })
  const second = await connect(t, url('?sessionId=user_1:draft'), { protocols: carry(sign({ sub: 'user_1', exp: inSeconds(60) })) })
  await app.wsManager.notifyAIComplete('user_1:draft', {})
  t.match(await second.next(), { type: 'ai_complete' })
})

t.test('an app that forgets that a JWT counts seconds gets an error, instead of admitting users forever or for no time', async (t) => {
  const { url, sign, lines } = await start(t, 1)
  t.match(await open(t, url(), { protocols: carry(sign({ sub: 'user_1', exp: inSeconds(60) })) }).closed, { code: 1008 })
  t.match(lines.find(({ fault }) => fault !== undefined), { level: 50, fault: /multiply the exp of a JWT by 1000/ })
})
