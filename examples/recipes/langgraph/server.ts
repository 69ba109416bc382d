import { MessagesAnnotation, START, StateGraph } from '@langchain/langgraph'
import { ChatOpenAI } from '@langchain/openai'
import aiCanvasWs from 'ai-canvas-ws'
import Fastify from 'fastify'

const { OPENAI_MODEL = 'gpt-5-mini' } = process.env
const model = new ChatOpenAI({ model: OPENAI_MODEL })

const graph = new StateGraph(MessagesAnnotation)
  .addNode('draft', async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
  .addNode('review', async ({ messages }) => ({
    messages: [await model.invoke([...messages, { role: 'user', content: 'Review your answer in one sentence.' }])]
  }))
  .addEdge(START, 'draft')
  .addEdge('draft', 'review')
  .compile()

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
  void app.wsManager.runAI(sessionId, { prompt }, (signal) => graph.stream(
    { messages: [{ role: 'user', content: prompt }] }, { streamMode: 'messages', signal }
  ), { text: true })
  return reply.code(202).send({ sessionId })
})

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void app.close())
await app.listen({ port: Number(process.env.PORT ?? 3001) })
