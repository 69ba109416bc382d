import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import type * as Package from 'ai-canvas-ws'
import { serve } from '../rpc.js'

// The server process of the edges: the plugin with its defaults, and the handlers that the rows need.

export interface Start {
  /** The `index.js` of a build. */
  readonly build: string
  readonly options?: Package.AiCanvasWsOptions
  /** Whether `authenticate` never settles. */
  readonly neverAuthenticates?: boolean
}

export interface Sample {
  readonly cpuMs: number
  readonly rssBytes: number
  readonly externalBytes: number
  readonly waitingBytes: number
  readonly slowConsumers: number
  readonly historyBytes: number
  readonly sockets: number
}

let app: FastifyInstance | undefined
let progress: NodeJS.Timeout | undefined

function running (): FastifyInstance {
  if (app === undefined) throw new Error('call start first')
  return app
}

const handlers = {
  async start ({ build, options = {}, neverAuthenticates = false }: Start): Promise<number> {
    const { aiCanvasWs } = await import(build) as typeof Package
    app = Fastify()
    const never = { authenticate: () => new Promise<never>(() => undefined), authorize: true, limits: { authTimeoutMs: 60_000 } } as const
    await app.register(aiCanvasWs, { ...options, ...(neverAuthenticates && never) })
    await app.listen({ port: 0, host: '127.0.0.1' })
    return (app.server.address() as AddressInfo).port
  },
  /** Starts a job with a text of this length. */
  text: async ({ sessionId, text, times }: { sessionId: string, text: string, times: number }) => {
    for (let at = 0; at < times; at++) await running().wsManager.notifyAIProgress(sessionId, { delta: text }, { jobId: 'job' })
  },
  /** Reports that job's progress at a rate, until stopped. */
  progress: ({ sessionId, everyMs }: { sessionId: string, everyMs: number }) => {
    clearInterval(progress)
    if (everyMs > 0) progress = setInterval(() => { void running().wsManager.notifyAIProgress(sessionId, { delta: 'more ' }, { jobId: 'job' }) }, everyMs)
  },
  complete: async ({ sessionId, bytes }: { sessionId: string, bytes: number }) => {
    await running().wsManager.notifyAIComplete(sessionId, { text: 'x'.repeat(bytes) }, { jobId: 'job' })
  },
  fail: async ({ sessionId, promptBytes }: { sessionId: string, promptBytes: number }) => {
    await running().wsManager.notifyAIStart(sessionId, { prompt: 'x'.repeat(promptBytes) }, { jobId: 'job' })
    await running().wsManager.notifyAIError(sessionId, { message: 'failed', type: 'api_error' }, { jobId: 'job' })
  },
  sample: async (): Promise<Sample> => {
    globalThis.gc?.()
    const { user, system } = process.cpuUsage()
    const { rss, external } = process.memoryUsage()
    const { bufferedAmount, slowConsumers, historyBytes } = running().wsManager.getMetrics()
    const sockets = await new Promise<number>((resolve) => { running().server.getConnections((_error, count) => { resolve(count) }) })
    return { cpuMs: (user + system) / 1000, rssBytes: rss, externalBytes: external, waitingBytes: bufferedAmount, slowConsumers, historyBytes, sockets }
  },
  /** Returns how long `app.close()` takes, in milliseconds; `withinMs` if it takes longer. */
  close: async ({ withinMs }: { withinMs: number }): Promise<number> => {
    const began = performance.now()
    const timeout = new AbortController()
    await Promise.race([
      running().close(),
      once(AbortSignal.timeout(withinMs), 'abort', { signal: timeout.signal }).catch(() => undefined)
    ])
    timeout.abort()
    return Math.round(Math.min(withinMs, performance.now() - began))
  }
}

export type EdgeHandlers = typeof handlers

serve(handlers)
