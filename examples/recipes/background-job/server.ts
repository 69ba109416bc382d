import { randomUUID } from 'node:crypto'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import aiCanvasWs from 'ai-canvas-ws'
import Fastify from 'fastify'

const WORDS_PER_SECOND = Number(process.env.WORDS_PER_SECOND ?? 10)

const app = Fastify({ logger: true, forceCloseConnections: true })
// The stats route would show the session ids to everyone.
await app.register(aiCanvasWs, { origins: [], allowCancel: true, stats: false })

// The page, and the client that it imports: the package's own modules, which need no bundler.
await app.register(fastifyStatic, { root: import.meta.dirname, serve: false })
const dist = dirname(dirname(fileURLToPath(import.meta.resolve('ai-canvas-ws/client'))))
await app.register(fastifyStatic, { root: dist, prefix: '/ai-canvas-ws/', decorateReply: false, allowedPath: (path) => /^\/(?:client|protocol)\/.+\.js$/.test(path) })

/** Stands in for a model: replace it with a call of your SDK. */
async function * writeReport (topic: string, signal: AbortSignal): AsyncGenerator<string> {
  const words = `This is a report about ${topic}. It is written in the background, while nobody has to wait for it.`.split(/(?<= )/)
  for (const word of words) {
    await sleep(1000 / WORDS_PER_SECOND, undefined, { signal })
    yield word
  }
}

const schema = { body: { type: 'object', required: ['topic'], properties: { topic: { type: 'string', minLength: 1, maxLength: 200 } } } }

app.post<{ Body: { topic: string } }>('/reports', { schema }, async ({ body: { topic } }, reply) => {
  // A random id: nobody else can guess it and subscribe to the session.
  const id = randomUUID()
  void app.wsManager.runAI(id, { mode: 'report', prompt: topic }, (signal) => writeReport(topic, signal), { text: true })
  return reply.code(202).header('location', `/reports/${id}`).send({ id, page: `/reports/${id}` })
})

app.get('/reports/:id', async (_request, reply) => reply.sendFile('report.html'))

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void app.close())
await app.listen({ port: Number(process.env.PORT ?? 3001) })
