import aiCanvasWs from 'ai-canvas-ws'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { agentChooser, type AgentOptions } from './agents/choose.js'
import { documentAgent } from './agents/document.js'
import { Jobs } from './jobs.js'
import { Results } from './results.js'
import { aboutRoutes } from './routes/about.js'
import { generateRoutes } from './routes/generate.js'
import { pageRoutes } from './routes/page.js'
import { sameSite } from './routes/same-site.js'
import { runJob } from './run-job.js'
import { servedBy } from './served-by.js'

export interface AppOptions extends AgentOptions {
  logger?: FastifyServerOptions['logger']
  /** The folder of the built page. It is served at `/`. */
  page?: string
  /** The approximate duration of a document job's text, in seconds. @default 0, without delays */
  documentSeconds?: number
  /** A file to document when the server starts, so that the compiler is loaded before the first document job. */
  warmUp?: string
  /**
   * Origins whose pages may use the server besides `localhost` and the server's addresses, such as
   * `https://canvas.example.com`.
   */
  origins?: string[]
  /** The maximum number of running jobs. @default 4 */
  maxJobs?: number
  /** The maximum duration of a job, in milliseconds. @default 300_000 (5 minutes) */
  maxJobDurationMs?: number
  /** The maximum length of a job's text, in UTF-16 units. @default 1_000_000 */
  maxContentLength?: number
}

/** The largest message from a page, in bytes. */
export const MAX_PAYLOAD = 64 * 1024

/** The canvas platform's server: it accepts jobs over HTTP and reports their progress over WebSocket. */
export async function buildApp (options: AppOptions): Promise<FastifyInstance> {
  const { root, openai, logger = false, page, documentSeconds = 0, warmUp, origins = [] } = options
  const { maxJobs = 4, maxJobDurationMs = 300_000, maxContentLength = 1_000_000 } = options
  // An idle or half-open HTTP connection would keep the server from closing until it times out.
  const app = Fastify({ logger, forceCloseConnections: true })
  const jobs = new Jobs({ max: maxJobs, maxDurationMs: maxJobDurationMs })
  const document = documentAgent({ root, seconds: documentSeconds })

  // Before the plugin's own hook, so that the sockets are still open when the jobs report their end.
  app.addHook('preClose', async () => { await jobs.close() })
  app.addHook('onClose', () => { document.close() })
  if (warmUp !== undefined) app.addHook('onListen', () => document.warmUp(warmUp))
  // The page requests it every two seconds.
  app.addHook('onRoute', (route) => { if (route.url === '/api/ws/stats') route.logLevel = 'warn' })
  // Not the plugin's `origins`, which would refuse the pages of a development server because of their port.
  app.addHook('onRequest', sameSite(origins))
  // Starting a job needs no authentication, so stopping one needs none either.
  await app.register(aiCanvasWs, { allowCancel: true, closeTimeoutMs: 500, onMessage: servedBy(), websocket: { maxPayload: MAX_PAYLOAD } })
  const results = new Results({ maxResults: 100, maxContentLength: 8 * maxContentLength })
  await app.register(generateRoutes, {
    chooseAgent: agentChooser({ root, openai }, document),
    findResult: (sessionId) => results.get(sessionId),
    accept: ({ sessionId, task, agent }) => {
      jobs.start(sessionId, ({ signal, release }) => {
        results.begin(sessionId, task)
        return runJob({ sessionId, task, agent, signal }, {
          tracker: app.wsManager,
          maxContentLength,
          onEnd (outcome) {
            results.end(sessionId, task, outcome)
            release()
          }
        })
      })
    }
  })
  await app.register(aboutRoutes, { model: openai?.model, documentSeconds })
  if (page !== undefined) await app.register(pageRoutes, { folder: page })
  return app
}
