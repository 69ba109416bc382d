import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import aiCanvasWs, { type AiCanvasWsOptions } from 'ai-canvas-ws'

export interface StartedApp {
  app: FastifyInstance
  /** `ws://127.0.0.1:<port>` */
  origin: string
  /** Returns the URL of the plugin's route, with a query. */
  url: (query?: string) => string
}

/** Returns the base URL of a listening app. */
export function originOf (app: FastifyInstance, scheme = 'ws'): string {
  return `${scheme}://127.0.0.1:${(app.server.address() as AddressInfo).port}`
}

/** Starts a real app with the plugin on a free port. It is closed when the test ends. */
export async function startApp (
  t: Test, options: AiCanvasWsOptions = {}, fastify: FastifyServerOptions = {}, prepare?: (app: FastifyInstance) => unknown
): Promise<StartedApp> {
  const app = Fastify(fastify)
  t.teardown(() => app.close())
  await prepare?.(app)
  await app.register(aiCanvasWs, { closeTimeoutMs: 500, ...options })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const origin = originOf(app)
  return { app, origin, url: (query = '') => `${origin}${options.prefix ?? ''}${options.path ?? '/ws'}${query}` }
}

/** Options with which no ping is sent during a test. Between a ping and its pong, a connection does not count as alive. */
export const withoutPings = { heartbeatIntervalMs: 3_600_000 } as const
