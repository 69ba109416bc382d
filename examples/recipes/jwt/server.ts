import { createHash, timingSafeEqual } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import aiCanvasWs, { redactedRequest } from 'ai-canvas-ws'
import Fastify from 'fastify'

const { JWT_SECRET = '', LOGIN_PASSWORD = '', TOKEN_SECONDS = '900', PORT = '3001' } = process.env
// There is no default, because everyone who knows the secret can sign a token for any user.
if (JWT_SECRET.length < 32) throw new Error('JWT_SECRET must have at least 32 characters: make one with "openssl rand -hex 32"')
if (LOGIN_PASSWORD === '') throw new Error('LOGIN_PASSWORD is not set: give the password that every user of this example shares')

interface Claims {
  sub: string
  /** In seconds since 1970 (RFC 7519). */
  exp: number
}

const app = Fastify({ logger: { serializers: { req: redactedRequest } } })
await app.register(fastifyJwt, {
  secret: JWT_SECRET,
  sign: { algorithm: 'HS256', expiresIn: Number(TOKEN_SECONDS) },
  verify: { algorithms: ['HS256'], requiredClaims: ['sub', 'exp'] }
})
await app.register(aiCanvasWs, {
  authenticate: (_request, { token }) => {
    if (token === undefined) return false
    // Throws if the token is forged or expired. Throwing refuses the client, too.
    const { sub, exp } = app.jwt.verify<Claims>(token)
    return { userId: sub, expiresAt: exp * 1000 }
  },
  authorize: ({ userId }, { sessionId }) => owns(userId, sessionId)
})

/** A session belongs to the user whose id it begins with. No user id contains a `:`. */
function owns (userId: string | undefined, sessionId: string): boolean {
  return userId !== undefined && sessionId.startsWith(`${userId}:`)
}

/** Compares digests, because timingSafeEqual needs two values of the same length. */
function isPassword (text: string): boolean {
  const digest = (value: string): Buffer => createHash('sha256').update(value).digest()
  return timingSafeEqual(digest(text), digest(LOGIN_PASSWORD))
}

const loginSchema = {
  body: {
    type: 'object',
    required: ['userId', 'password'],
    properties: { userId: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' }, password: { type: 'string', maxLength: 256 } }
  }
}

app.post<{ Body: { userId: string, password: string } }>('/login', { schema: loginSchema }, async ({ body: { userId, password } }, reply) => {
  if (!isPassword(password)) return reply.code(401).send({ message: 'unknown user, or wrong password' })
  return { token: app.jwt.sign({ sub: userId }) }
})

const countSchema = {
  body: {
    type: 'object',
    required: ['sessionId', 'text'],
    properties: { sessionId: { type: 'string', pattern: '^[^\\p{Cc}\\p{Cs}]{1,256}$' }, text: { type: 'string' } }
  }
}

app.post<{ Body: { sessionId: string, text: string } }>('/count', { schema: countSchema }, async (request, reply) => {
  const { sub } = await request.jwtVerify<Claims>()
  const { sessionId, text } = request.body
  if (!owns(sub, sessionId)) return reply.code(403).send({ message: `session "${sessionId}" is not yours: use one that begins with "${sub}:"` })

  const job = app.wsManager.startAI(sessionId, { mode: 'count' })
  const words = text.split(/\s+/u).filter((word) => word !== '').length
  await job.complete({ mode: 'count', contentLength: text.length, chunks: 1, words })
  return { words }
})

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void app.close())
await app.listen({ port: Number(PORT) })
