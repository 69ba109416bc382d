import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import aiCanvasWs from 'ai-canvas-ws'
import { redisBroker } from 'ai-canvas-ws/redis'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { agentChooser } from '../canvas/agents/choose.js'
import { documentAgent } from '../canvas/agents/document.js'
import { MAX_PAYLOAD } from '../canvas/app.js'
import { serverConfig } from '../canvas/config/server.js'
import { resultOf } from '../canvas/results.js'
import { aboutRoutes } from '../canvas/routes/about.js'
import { generateRoutes } from '../canvas/routes/generate.js'
import { pageRoutes } from '../canvas/routes/page.js'
import { sameSite } from '../canvas/routes/same-site.js'
import { servedBy } from '../canvas/served-by.js'
import { Board } from './board.js'

// One of several servers behind the load balancer. It accepts jobs, which a worker runs, and serves the page and its connections.

const { NODE_NAME = 'node', REDIS_URL = 'redis://localhost:6379', PAGE = join(import.meta.dirname, '../canvas/page/dist') } = process.env
const { host, port, logLevel, origins, documentSeconds } = serverConfig(process.env)
const root = process.cwd()

const app = Fastify({ logger: { level: logLevel }, forceCloseConnections: true })
const redis = new Redis(REDIS_URL)
redis.on('error', (err) => { app.log.warn({ err }, 'the queue can\'t be reached') })
const board = new Board(redis)

app.addHook('onClose', () => { redis.disconnect() })
app.addHook('onRequest', sameSite(origins))
await app.register(aiCanvasWs, {
  broker: redisBroker({ redis: REDIS_URL }),
  allowCancel: true,
  closeTimeoutMs: 500,
  onMessage: servedBy(NODE_NAME),
  websocket: { maxPayload: MAX_PAYLOAD }
})
await app.register(generateRoutes, {
  // Used only to validate a task. The worker runs its own agent.
  chooseAgent: agentChooser({ root }, documentAgent({ root })),
  findResult: (sessionId) => board.findResult(sessionId),
  accept: async ({ sessionId, task }) => {
    // The page shows the job at once. The worker that takes it continues it.
    const jobId = randomUUID()
    const job = app.wsManager.startAI(sessionId, { ...task }, { jobId })
    await job.started
    try {
      await job.transfer()
      await board.setResult(resultOf(sessionId, task, 'running', { content: '', chunks: 0 }))
      await board.add({ sessionId, jobId, task })
    } catch (error) {
      await app.wsManager.notifyAIError(sessionId, { message: 'the job could not be queued', type: 'internal_error' }, { jobId })
      throw error
    }
  }
})
await app.register(aboutRoutes, { model: undefined, documentSeconds })
await app.register(pageRoutes, { folder: PAGE })

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => { void app.close() })
await app.listen({ host, port })
process.stdout.write('ready\n')
