import { createHash, timingSafeEqual } from 'node:crypto'
import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import aiCanvasWs from 'ai-canvas-ws'
import Fastify from 'fastify'

const { SESSION_SECRET = '', LOGIN_PASSWORD = '', SESSION_SECONDS = '3600', PORT = '3001', NODE_ENV } = process.env
if (SESSION_SECRET.length < 32) throw new Error('SESSION_SECRET must have at least 32 characters: make one with "openssl rand -hex 32"')
if (LOGIN_PASSWORD === '') throw new Error('LOGIN_PASSWORD is not set: give the password that every user of this example shares')

declare module 'fastify' {
  interface Session { userId?: string }
}

const app = Fastify({ logger: true, trustProxy: '127.0.0.1' })
await app.register(fastifyCookie)
await app.register(fastifySession, {
  secret: SESSION_SECRET,
  cookieName: 'sid',
  saveUninitialized: false,
  // The session ends at a fixed time, and so do its connections: see `expiresAt`.
  rolling: false,
  cookie: { httpOnly: true, sameSite: 'lax', secure: NODE_ENV === 'production', maxAge: Number(SESSION_SECONDS) * 1000 }
})

// Browsers also send cookies with requests from pages of other sites (CSRF). The header Sec-Fetch-Site, which no page can forge,
// shows where a request comes from. Old browsers don't send it. They are protected by SameSite and by the preflight that a JSON
// body needs.
app.addHook('onRequest', async ({ method, headers }, reply) => {
  const from = headers['sec-fetch-site'] ?? 'same-origin'
  if (method === 'POST' && from !== 'same-origin') return reply.code(403).send({ message: 'cross-site request' })
})

// The plugin does the same for WebSockets: with `authenticate`, pages of other hosts are refused (4501), cookie or not.
await app.register(aiCanvasWs, {
  authenticate: ({ session }) => {
    const { userId, cookie: { expires } } = session
    return userId !== undefined && expires instanceof Date && { userId, expiresAt: expires }
  },
  authorize: ({ userId }, { sessionId }) => sessionId.startsWith(`${userId ?? ''}:`)
})

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

app.post<{ Body: { userId: string, password: string } }>('/login', { schema: loginSchema }, async (request, reply) => {
  const { userId, password } = request.body
  if (!isPassword(password)) return reply.code(401).send({ message: 'unknown user, or wrong password' })
  // A new session id, so that an id planted before the login is useless (session fixation).
  await request.session.regenerate()
  request.session.userId = userId
  return { userId }
})

app.post('/logout', async (request, reply) => {
  const { userId } = request.session
  await request.session.destroy()
  // Open connections outlive the cookie.
  if (userId !== undefined) await app.wsManager.revoke(userId)
  return reply.code(204).send()
})

const workSchema = { body: { type: 'object', required: ['text'], properties: { text: { type: 'string' } } } }

app.post<{ Body: { text: string } }>('/count', { schema: workSchema }, async ({ session: { userId }, body: { text } }, reply) => {
  if (userId === undefined) return reply.code(401).send({ message: 'log in first' })
  const job = app.wsManager.startAI(`${userId}:words`, { mode: 'count' })
  const words = text.split(/\s+/u).filter((word) => word !== '').length
  await job.complete({ mode: 'count', contentLength: text.length, chunks: 1, words })
  return { words }
})

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void app.close())
await app.listen({ port: Number(PORT) })
