import type { FastifyInstance } from 'fastify'
import { memoryInUse } from '../../support/memory.js'
import type { ServerEvent, ServerState } from './messages.js'

// What every server process does: it talks to the run that started it, reports what must never happen, and closes on SIGTERM.

export function tell (event: ServerEvent): void {
  if (process.connected) process.send?.(event)
}

/** Reports a broken invariant. The error may be anything, also one that cannot be read. */
export function broken (invariant: string, error: unknown): void {
  let detail = 'an error that cannot be read'
  try {
    detail = error instanceof Error ? String(error.stack) : String(error)
  } catch { /* said already */ }
  tell({ event: 'broken', invariant, detail })
}

let closing = false

export function isClosing (): boolean {
  return closing
}

type Handlers = Record<string, (input: never) => unknown>

/** Answers the run's calls. */
export function serve (handlers: Handlers): void {
  process.on('uncaughtException', (error) => { broken('the server has no uncaught exception', error) })
  process.on('unhandledRejection', (error) => { broken('the server has no unhandled rejection', error) })
  // Node.js warns of listeners that pile up: each is a leak.
  process.on('warning', (warning) => { if (warning.name === 'MaxListenersExceededWarning') broken('no listener leaks', warning) })
  // Without the run nobody would end it.
  process.on('disconnect', () => { if (!closing) process.exit(0) })
  process.on('message', ({ id, method, input }: { id: number, method: string, input: never }) => {
    void (async () => await handlers[method]!(input))().then(
      (output: unknown) => { if (process.connected) process.send?.({ id, output }) },
      (error: unknown) => { broken(`the app's own call ${method} succeeds`, error) })
  })
}

/** Listens, and closes as a deploy closes an app. */
export async function listen (app: FastifyInstance, onClosed?: () => void): Promise<void> {
  process.on('SIGTERM', () => {
    closing = true
    const began = performance.now()
    app.close().then(() => {
      onClosed?.()
      tell({ event: 'closed', ms: performance.now() - began })
      // From here on nothing keeps the process alive but what was leaked.
      process.disconnect()
    }, (error: unknown) => { broken('app.close() succeeds', error) })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  tell({ event: 'listening', port: (app.server.address() as { port: number }).port })
}

export async function stateOf (
  app: FastifyInstance, collectGarbage: boolean, { runningJobs = 0, heads = [] }: Partial<Pick<ServerState, 'runningJobs' | 'heads'>> = {}
): Promise<ServerState> {
  const { historyBytes, bufferedAmount, messagesSent, messagesReceived } = app.wsManager.getMetrics()
  const sockets = await new Promise<number>((resolve, reject) => {
    app.server.getConnections((error, count) => { if (error === null) resolve(count); else reject(error) })
  })
  return {
    connections: app.wsManager.getStats().totalConnections, sockets, bufferedBytes: bufferedAmount, historyBytes,
    memoryBytes: collectGarbage ? memoryInUse() : 0, runningJobs, sent: messagesSent, received: messagesReceived, heads
  }
}
