import { createInterface } from 'node:readline'
import Fastify from 'fastify'
import { Redis, type RedisOptions } from 'ioredis'
import aiCanvasWs, { type AiCanvasWsOptions, type WebSocketManager } from 'ai-canvas-ws'
import { redisBroker } from '../../../lib/redis/index.js'
import { originOf } from '../app.js'

// One node of an app over Redis. `NODE_SETTINGS` contains its settings. Each line of stdin is a command, each line of stdout an
// event. `../redis-nodes.ts` starts and controls it.

export interface NodeSettings {
  readonly redis: RedisOptions
  readonly leaseMs: number
  /** Whether this node's functions differ from the others', as in the next version of the package. */
  readonly isNext?: boolean
  readonly options?: AiCanvasWsOptions
}

/** A call of a method of the manager, or of this script. */
export interface NodeCommand {
  readonly id: number
  readonly method: string
  readonly args: readonly unknown[]
}

export type NodeEvent =
  | { readonly type: 'ready', readonly url: string }
  | { readonly type: 'result', readonly id: number, readonly result?: unknown, readonly error?: string, readonly ms: number }
  /** The broker has accepted a note of `produce`. */
  | { readonly type: 'accepted', readonly n: string }

const { redis, leaseMs, isNext = false, options = {} } = JSON.parse(process.env.NODE_SETTINGS ?? '{}') as NodeSettings

/** A Redis client that loads and calls the functions under other names, like a version whose functions differ. */
class NextVersion extends Redis {
  override callBuffer (command: string, ...args: any[]): Promise<any> {
    if (['FUNCTION', 'FCALL'].includes(command)) args = args.map((arg: unknown) => typeof arg === 'string' ? arg.replaceAll(/\baicw_1_[0-9a-f]{10}/g, 'aicw_1_next') : arg)
    return super.callBuffer(command, ...args as string[])
  }
}

function tell (event: NodeEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}

const app = Fastify({ logger: process.env.NODE_LOG === undefined ? false : { level: 'info', file: process.env.NODE_LOG } })
const client = { options: {}, duplicate: (overrides: object) => Reflect.construct(NextVersion, [{ ...redis, ...overrides }]) as Redis }
await app.register(aiCanvasWs, { closeTimeoutMs: 2_000, allowCancel: true, ...options, broker: redisBroker({ redis: isNext ? client : redis, leaseMs }) })
await app.listen({ port: 0, host: '127.0.0.1' })
const manager = app.wsManager
let isProducing = false
const isStarted = (): boolean => isProducing

/** Publishes notes to a session, several at once, and reports which ones were accepted. A rejected note is not repeated. */
async function produce (sessionId: string, name: string, batch: number, everyMs: number): Promise<void> {
  isProducing = true
  for (let n = 0; isStarted(); n += batch) {
    await Promise.all(Array.from({ length: batch }, async (_, at) => {
      const note = `${name}.${n + at}`
      await manager.broadcastToSession(sessionId, { type: 'note', n: note }).then(({ seq }) => {
        if (seq !== undefined) tell({ type: 'accepted', n: note })
      }, () => undefined)
    }))
    await new Promise((resolve) => { setTimeout(resolve, everyMs) })
  }
}

const own: Record<string, (...args: any[]) => unknown> = {
  produce: (sessionId: string, name: string, batch: number, everyMs: number) => { void produce(sessionId, name, batch, everyMs) },
  stop: () => { isProducing = false },
  close: async () => {
    isProducing = false
    await app.close()
  },
  memory: () => process.memoryUsage().rss,
  /**
   * Publishes many messages, each of `units` UTF-16 units, as fast as it can. Returns how many were accepted, and how long the
   * slowest call took, in ms.
   */
  flood: async (sessionId: string, count: number, units: number) => {
    const filler = 'x'.repeat(units)
    let [accepted, slowest] = [0, 0]
    const calls: Array<Promise<void>> = []
    for (let n = 0; n < count; n++) {
      const startedAt = performance.now()
      calls.push(manager.broadcastToSession(sessionId, { type: 'note', n: `flood.${n}`, filler }).then(() => { accepted++ }, () => undefined).finally(() => {
        slowest = Math.max(slowest, performance.now() - startedAt)
      }))
      if (n % 100 === 0) await new Promise((resolve) => { setImmediate(resolve) })
    }
    await Promise.all(calls)
    return { accepted, slowest }
  }
}

createInterface(process.stdin).on('line', (line) => {
  const { id, method, args } = JSON.parse(line) as NodeCommand
  const startedAt = performance.now()
  const answer = (outcome: { result?: unknown, error?: string }): void => { tell({ type: 'result', id, ms: performance.now() - startedAt, ...outcome }) }
  const call = async (): Promise<unknown> => await (own[method] ?? (manager[method as keyof WebSocketManager] as (...args: unknown[]) => unknown).bind(manager))(...args)
  call().then((result) => { answer({ result }) }, (error: unknown) => { answer({ error: (error as Error).message }) })
})
tell({ type: 'ready', url: `${originOf(app)}/ws` })
