// JWT_SECRET=$(openssl rand -hex 32) LOGIN_PASSWORD=… npx tsx --conditions=@ai-canvas-ws/source examples/jwt.ts
import { createHash, timingSafeEqual } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import fastifyJwt from '@fastify/jwt'
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import aiCanvasWs, { redactedRequest } from 'ai-canvas-ws'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'

const SHORTEST_SECRET = 32

export interface JwtAppOptions {
  /** Signs the tokens. Whoever knows it can be anyone. At least 32 characters. */
  secret: string | undefined
  verifyPassword: (userId: string, password: string) => boolean | Promise<boolean>
  /** How long a token is good. A connection whose token has run out is closed, and its client comes back with a new one. @default 900 */
  tokenSeconds?: number
  logger?: FastifyServerOptions['logger']
}

interface Claims {
  sub: string
  /** In seconds since 1970, as RFC 7519 has it. */
  exp: number
}

export async function build ({ secret, verifyPassword, tokenSeconds = 900, logger = false }: JwtAppOptions): Promise<FastifyInstance> {
  if (secret === undefined || secret.length < SHORTEST_SECRET) {
    throw new Error(`JWT_SECRET must have at least ${SHORTEST_SECRET} characters: make one with "openssl rand -hex 32". There is no default, because everyone could sign with it.`)
  }
  const app = Fastify({ logger })
  await app.register(fastifyJwt, { secret, sign: { algorithm: 'HS256', expiresIn: tokenSeconds }, verify: { algorithms: ['HS256'], requiredClaims: ['sub', 'exp'] } })
  await app.register(aiCanvasWs, {
    // Throwing refuses as well: jwt.verify throws for a token that is forged, stale or no token at all
    authenticate: (_request, { token }) => {
      if (token === undefined) return false
      const { sub, exp } = app.jwt.verify<Claims>(token)
      return { userId: sub, expiresAt: exp * 1000 }
    },
    authorize: ({ userId }, { sessionId }) => owns(userId, sessionId)
  })
  await app.register(routes, { verifyPassword })
  return app
}

/** A session belongs to the user whose id it begins with. No user id holds the `:` that ends it. */
function owns (userId: string | undefined, sessionId: string): boolean {
  return userId !== undefined && sessionId.startsWith(`${userId}:`)
}

const routes: FastifyPluginCallbackTypebox<Pick<JwtAppOptions, 'verifyPassword'>> = (app, { verifyPassword }, done) => {
  app.post('/login', {
    schema: { body: Type.Object({ userId: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }), password: Type.String({ maxLength: 256 }) }) }
  }, async ({ body: { userId, password } }, reply) => {
    if (!await verifyPassword(userId, password)) return reply.code(401).send({ message: 'no such user, or another password' })
    return { token: app.jwt.sign({ sub: userId }) }
  })

  app.post('/count', {
    schema: { body: Type.Object({ sessionId: Type.String({ minLength: 1, maxLength: 256 }), text: Type.String() }) }
  }, async (request, reply) => {
    const { sub } = await request.jwtVerify<Claims>()
    const { sessionId, text } = request.body
    if (!owns(sub, sessionId)) return reply.code(403).send({ message: `session "${sessionId}" is not yours: use one that begins with "${sub}:"` })

    await app.wsManager.notifyAIStart(sessionId, { mode: 'count' })
    const words = text.split(/\s+/u).filter((word) => word !== '').length
    await app.wsManager.notifyAIComplete(sessionId, { mode: 'count', contentLength: text.length, chunks: 1, words })
    return { words }
  })
  done()
}

/**
 * How a client brings its token, in browsers too, which can set no header here:
 *
 *     new WebSocket('wss://example.org/ws?sessionId=…', tokenProtocols(token))
 *
 * or, where the subprotocol can't be set, in the URL, which proxies along the way may write into their logs:
 *
 *     new WebSocket(`wss://example.org/ws?sessionId=…&token=${token}`)
 */
export function tokenProtocols (token: string): string[] {
  const base64url = btoa(token).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
  return ['ai-canvas.v1', `ai-canvas.token.${base64url}`]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { JWT_SECRET, LOGIN_PASSWORD } = process.env
  if (!LOGIN_PASSWORD) throw new Error('LOGIN_PASSWORD is not set: give the password that every user of this example shares')
  // Digests have one length, which timingSafeEqual needs
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  const app = await build({
    secret: JWT_SECRET,
    verifyPassword: (_userId, password) => timingSafeEqual(digest(password), digest(LOGIN_PASSWORD)),
    logger: { serializers: { req: redactedRequest } }
  })
  await app.listen({ port: Number(process.env.PORT ?? 3001) })
}
