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

export interface AppOptions extends AgentOptions {
  logger?: FastifyServerOptions['logger']
  /** The folder of the built page, which is then served at `/`. */
  page?: string
  /** About how long the text of a document job takes, in seconds. @default 0, as quickly as it comes */
  documentSeconds?: number
  /** A file that the compiler loads when the server listens, so that the first document job need not wait for that. */
  warmUp?: string
  /** Origins whose pages may use the server beside those of `localhost` and of its addresses, such as `https://canvas.example.com`. */
  origins?: string[]
  /** How many jobs may run at once. @default 4 */
  maxJobs?: number
  /** @default 300_000 (5 minutes) */
  maxJobDurationMs?: number
  /** How long one job's text may become, in UTF-16 units. @default 1_000_000 */
  maxContentLength?: number
}

/** The canvas platform's server: jobs come in over HTTP, and how they go is told over WebSocket. */
export async function buildApp (options: AppOptions): Promise<FastifyInstance> {
  const { root, openai, logger = false, page, documentSeconds = 0, warmUp, origins = [] } = options
  const { maxJobs = 4, maxJobDurationMs = 300_000, maxContentLength = 1_000_000 } = options
  // An idle or half-open HTTP connection would keep the server from closing until its timeouts
  const app = Fastify({ logger, forceCloseConnections: true })
  const jobs = new Jobs({ max: maxJobs, maxDurationMs: maxJobDurationMs })
  const document = documentAgent({ root, seconds: documentSeconds })

  // Before the plugin's own, so that the sockets are still open when the jobs say that they end
  app.addHook('preClose', async () => { await jobs.close() })
  app.addHook('onClose', () => { document.close() })
  if (warmUp !== undefined) app.addHook('onListen', () => document.warmUp(warmUp))
  // The page asks for it every other second
  app.addHook('onRoute', (route) => { if (route.url === '/api/ws/stats') route.logLevel = 'warn' })
  // Not the plugin's `origins`, which would refuse a development server's pages for their port
  app.addHook('onRequest', sameSite(origins))
  // Who may start a job without saying who they are may stop one, too
  await app.register(aiCanvasWs, { allowCancel: true, closeTimeoutMs: 500 })
  await app.register(generateRoutes, {
    chooseAgent: agentChooser({ root, openai }, document),
    jobs,
    results: new Results({ maxResults: 100, maxContentLength: 8 * maxContentLength }),
    maxContentLength
  })
  await app.register(aboutRoutes, { model: openai?.model, documentSeconds })
  if (page !== undefined) await app.register(pageRoutes, { folder: page })
  return app
}
