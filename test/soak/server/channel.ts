import type { FastifyInstance } from 'fastify'
import { memoryInUse } from '../../support/memory.js'
import type { ServerEvent, ServerState } from './messages.js'

// The common part of all server processes: the messages to and from the run that started them, reports of broken invariants, and
// the shutdown on SIGTERM.

export function tell (event: ServerEvent): void {
  if (process.connected) process.send?.(event)
}

/** Reports a broken invariant. The error may be any value, even one whose properties can't be read. */
export function broken (invariant: string, error: unknown): void {
  let detail = 'an error that cannot be read'
  try {
    detail = error instanceof Error ? String(error.stack) : String(error)
  } catch { /* the default text is reported */ }
  tell({ event: 'broken', invariant, detail })
}

let closing = false

export function isClosing (): boolean {
  return closing
}

type Handlers = Record<string, (input: never) => unknown>

/** Handles the run's calls. */
export function serve (handlers: Handlers): void {
  process.on('uncaughtException', (error) => { broken('the server has no uncaught exception', error) })
  process.on('unhandledRejection', (error) => { broken('the server has no unhandled rejection', error) })
  // Node.js emits a warning if listeners accumulate, which is a leak.
  process.on('warning', (warning) => { if (warning.name === 'MaxListenersExceededWarning') broken('no listener leaks', warning) })
  // Without the run, nothing would end this process.
  process.on('disconnect', () => { if (!closing) process.exit(0) })
  process.on('message', ({ id, method, input }: { id: number, method: string, input: never }) => {
    void (async () => await handlers[method]!(input))().then(
      (output: unknown) => { if (process.connected) process.send?.({ id, output }) },
      (error: unknown) => { broken(`the app's own call ${method} succeeds`, error) })
  })
}

/** Starts the server, and closes the app on SIGTERM, as in a deploy. */
export async function listen (app: FastifyInstance, onClosed?: () => void): Promise<void> {
  process.on('SIGTERM', () => {
    closing = true
    const began = performance.now()
    app.close().then(() => {
      onClosed?.()
      tell({ event: 'closed', ms: performance.now() - began })
      // From here on, only a leak keeps the process alive.
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
