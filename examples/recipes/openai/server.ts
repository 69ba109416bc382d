import aiCanvasWs from 'ai-canvas-ws'
import Fastify from 'fastify'
import OpenAI from 'openai'

const { OPENAI_MODEL = 'gpt-5-mini' } = process.env
const openai = new OpenAI()

// Only pages of this host may connect. There is no login, so every subscriber of a job may also stop it.
const app = Fastify({ logger: true })
await app.register(aiCanvasWs, { origins: [], allowCancel: true })

const schema = {
  body: {
    type: 'object',
    required: ['sessionId', 'prompt'],
    properties: {
      sessionId: { type: 'string', pattern: '^[^\\p{Cc}\\p{Cs}]{1,256}$' },
      prompt: { type: 'string', minLength: 1, maxLength: 10_000 }
    }
  }
}

app.post<{ Body: { sessionId: string, prompt: string } }>('/ask', { schema }, async (request, reply) => {
  const { sessionId, prompt } = request.body
  void app.wsManager.runAI(sessionId, { prompt }, (signal) => openai.responses.create({
    model: OPENAI_MODEL, input: prompt, stream: true
  }, { signal }), { text: true })
  return reply.code(202).send({ sessionId })
})

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void app.close())
await app.listen({ port: Number(process.env.PORT ?? 3001) })
