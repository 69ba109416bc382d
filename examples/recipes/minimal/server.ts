import { createHash } from 'node:crypto'
import aiCanvasWs from 'ai-canvas-ws'
import Fastify from 'fastify'

const app = Fastify({ logger: true })
// Without `origins`, pages of every website could connect. An empty list allows only pages of this server's host.
await app.register(aiCanvasWs, { origins: [] })

const schema = {
  querystring: { type: 'object', required: ['sessionId'], properties: { sessionId: { type: 'string', pattern: '^[^\\p{Cc}\\p{Cs}]{1,256}$' } } },
  body: { type: 'string' }
}

app.post<{ Querystring: { sessionId: string }, Body: string }>('/digest', { schema }, async ({ query: { sessionId }, body }) => {
  const job = app.wsManager.startAI(sessionId, { mode: 'digest' })
  const hash = createHash('sha256')
  const lines = body.split(/(?<=\n)/)
  for (const [index, line] of lines.entries()) {
    hash.update(line)
    if (index % 1000 === 0) void job.progress({ chunksReceived: index + 1 })
  }
  const digest = hash.digest('hex')
  await job.complete({ mode: 'digest', contentLength: body.length, chunks: lines.length, digest })
  return { digest }
})

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void app.close())
await app.listen({ port: Number(process.env.PORT ?? 3001) })
