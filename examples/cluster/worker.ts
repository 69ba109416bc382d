import { createPublisher } from 'ai-canvas-ws/redis'
import { Redis } from 'ioredis'
import { agentChooser } from '../canvas/agents/choose.js'
import { documentAgent } from '../canvas/agents/document.js'
import { serverConfig } from '../canvas/config/server.js'
import { resultOf } from '../canvas/results.js'
import { runJob } from '../canvas/run-job.js'
import { Board, type QueuedJob } from './board.js'

// Runs the jobs. It has no web server: its reports reach the clients of all nodes.

const MAX_CONTENT_LENGTH = 1_000_000
const CONCURRENCY = 4

const { REDIS_URL = 'redis://localhost:6379' } = process.env
const { documentSeconds } = serverConfig(process.env)
const root = process.cwd()

const publisher = await createPublisher({ redis: REDIS_URL })
const document = documentAgent({ root, seconds: documentSeconds })
const chooseAgent = agentChooser({ root }, document)
const stop = new AbortController()
const redis = new Redis(REDIS_URL)
redis.on('error', () => { /* It reconnects by itself. */ })
const board = new Board(redis)

async function run ({ sessionId, jobId, task }: QueuedJob): Promise<void> {
  const saving: Array<Promise<void>> = []
  await runJob({ sessionId, task, agent: chooseAgent(task), signal: stop.signal }, {
    maxContentLength: MAX_CONTENT_LENGTH,
    // The job has started on a node. With its id, it continues here, and cancels of clients arrive here.
    tracker: { trackAI: (session, described, text, options) => publisher.trackAI(session, described, text, { ...options, jobId }) },
    onEnd: (outcome) => { saving.push(board.setResult(resultOf(sessionId, task, outcome.error === undefined ? 'complete' : 'error', outcome))) }
  })
  await Promise.all(saving)
}

/** Runs queued jobs one after another. Waiting for a job blocks its connection, so each loop has its own. */
async function work (): Promise<void> {
  const queue = new Board(redis.duplicate().on('error', () => undefined))
  // Until the process exits.
  for (;;) {
    try {
      const job = await queue.take()
      if (job !== undefined) await run(job)
    } catch (error) {
      process.emitWarning(error as Error)
    }
  }
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    stop.abort(new Error('the worker is closing: try again in a moment'))
    void publisher.close().then(() => { process.exit() })
  })
}
process.stdout.write('ready\n')
await Promise.all(Array.from({ length: CONCURRENCY }, work))
