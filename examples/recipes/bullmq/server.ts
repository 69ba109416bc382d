import { randomUUID } from 'node:crypto'
import aiCanvasWs from 'ai-canvas-ws'
import { redisBroker } from 'ai-canvas-ws/redis'
import { Queue } from 'bullmq'
import Fastify from 'fastify'
import { connection, type Task } from './shared.js'

const queues = {
  answers: new Queue<Task>('answers', { connection }),
  reports: new Queue<Task>('reports', { connection, defaultJobOptions: { attempts: 3, backoff: { type: 'exponential', delay: 1_000 } } })
}

const app = Fastify({ logger: true, forceCloseConnections: true })
await app.register(aiCanvasWs, {
  broker: redisBroker({ redis: connection }),
  origins: [],
  stats: false,
  allowCancel: true,
  // Called for a job that no worker runs. If it still waits in a queue, it never starts.
  onCancel: async ({ jobId }) => {
    const removed = await Promise.all(Object.values(queues).map((queue) => queue.remove(jobId)))
    return removed.includes(1)
  }
})

const schema = { body: { type: 'object', required: ['sessionId', 'prompt'], properties: { sessionId: { type: 'string', minLength: 1, maxLength: 256 }, prompt: { type: 'string', minLength: 1, maxLength: 200 } } } }

for (const [name, queue] of Object.entries(queues)) {
  app.post<{ Body: Task }>(`/${name}`, { schema }, async ({ body: { sessionId, prompt } }, reply) => {
    const jobId = randomUUID()
    await queue.add(name, { sessionId, prompt }, { jobId, removeOnComplete: true, removeOnFail: 1_000 })
    return reply.code(202).send({ sessionId, jobId })
  })
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    void Promise.all([app.close(), ...Object.values(queues).map((queue) => queue.close())])
  })
}
await app.listen({ port: Number(process.env.PORT ?? 3001) })
