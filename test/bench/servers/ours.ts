import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import type * as Package from 'ai-canvas-ws'
import type { Contender, ContenderOptions } from './contender.js'

/** The plugin through its public API, with its defaults unless an option overrides them. */
export function ours ({ build, withoutHistory }: ContenderOptions): Contender {
  const app = Fastify()
  return {
    async listen () {
      const { aiCanvasWs } = await import(build) as typeof Package
      await app.register(aiCanvasWs, withoutHistory ? { history: false } : {})
      await app.listen({ port: 0, host: '127.0.0.1' })
      return (app.server.address() as AddressInfo).port
    },
    publish (sessionId, kind, body) {
      if (kind === 'progress') void app.wsManager.notifyAIProgress(sessionId, body)
      else void app.wsManager.broadcastToSession(sessionId, { type: 'update', ...body })
    },
    waitingBytes: () => app.wsManager.getMetrics().bufferedAmount,
    slowConsumers: () => app.wsManager.getMetrics().slowConsumers
  }
}
