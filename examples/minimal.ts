// npx tsx --conditions=@ai-canvas-ws/source examples/minimal.ts
// npx wscat -c 'ws://localhost:3001/ws?sessionId=my_session'
// curl 'localhost:3001/digest?sessionId=my_session' -H 'content-type: text/plain' --data-binary @README.md
import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import aiCanvasWs from 'ai-canvas-ws'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'

export async function build (options: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = Fastify(options)
  await app.register(aiCanvasWs)

  const schema = {
    querystring: { type: 'object', required: ['sessionId'], properties: { sessionId: { type: 'string', minLength: 1, maxLength: 256 } } },
    body: { type: 'string' }
  }
  app.post<{ Querystring: { sessionId: string }, Body: string }>('/digest', { schema }, async ({ query: { sessionId }, body }) => {
    await app.wsManager.notifyAIStart(sessionId, { mode: 'digest' })
    const hash = createHash('sha256')
    const lines = body.split(/(?<=\n)/)
    let contentLength = 0
    for (const [index, line] of lines.entries()) {
      hash.update(line)
      contentLength += line.length
      void app.wsManager.notifyAIProgress(sessionId, { chunksReceived: index + 1, contentLength })
    }
    const digest = hash.digest('hex')
    await app.wsManager.notifyAIComplete(sessionId, { mode: 'digest', contentLength, chunks: lines.length, digest })
    return { digest }
  })
  return app
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const app = await build({ logger: true })
  await app.listen({ port: Number(process.env.PORT ?? 3001) })
}
