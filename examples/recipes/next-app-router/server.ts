import { setTimeout as pause } from 'node:timers/promises'
import aiCanvasWs from 'ai-canvas-ws'
import Fastify from 'fastify'

const app = Fastify({ logger: true, forceCloseConnections: true })

// Only pages of the Next.js server may connect. There is no login, so every subscriber of a job may also stop it.
// The stats route would show the session ids to everyone.
await app.register(aiCanvasWs, { origins: [process.env.PAGE_ORIGIN ?? 'http://localhost:3000'], allowCancel: true, stats: false })

const body = {
  type: 'object',
  required: ['sessionId', 'prompt'],
  properties: { sessionId: { type: 'string', pattern: '^[^\\p{Cc}\\p{Cs}]{1,256}$' }, prompt: { type: 'string', maxLength: 10_000 } }
}
// Next.js requests the jobs: see app/jobs/[sessionId]/actions.ts
app.post<{ Body: { sessionId: string, prompt: string } }>('/jobs', { schema: { body } }, (request, reply) => {
  const { sessionId, prompt } = request.body
  void app.wsManager.runAI(sessionId, { prompt }, (signal) => model(prompt, signal), { text: true })
  return reply.code(202).send({ sessionId })
})

/** Stands in for a language model: repeats the prompt, word by word. Return the stream of your provider's SDK instead. */
async function * model (prompt: string, signal: AbortSignal): AsyncGenerator<string> {
  for (const word of prompt.split(/(?<=\s)/)) {
    await pause(100, undefined, { signal })
    yield word
  }
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void app.close())
await app.listen({ port: Number(process.env.PORT ?? 3001) })
