import { Keys } from '../../lib/redis/keys.js'
import type { Stream } from '../../lib/streams/broker.js'
import type { RedisServer } from './redis-server.js'

/** The values that a worker without a node reads once, and again after the store has lost history. */
export interface Access {
  readonly name: string
  readonly settings: string
}

export interface RemoteCall {
  readonly type?: string
  readonly json?: unknown
  readonly jobId?: string
  readonly delta?: string
  readonly offset?: number
  readonly key?: string
}

/** A worker that calls the function for workers in other languages. */
export class RedisWorker {
  readonly #server: RedisServer
  readonly #keys: Keys
  access: Access | undefined

  constructor (server: RedisServer, prefix = 'aicw') {
    this.#server = server
    this.#keys = new Keys(prefix)
  }

  async readAccess (): Promise<Access> {
    const [name, settings] = await this.#server.command('HMGET', this.#keys.remote, 'function', 'settings') as [string | null, string | null]
    if (name === null || settings === null) throw new Error('no node has started yet')
    return this.access = { name, settings }
  }

  async call (stream: string, { type = 'message', json = {}, jobId = '', delta = '', offset, key = '' }: RemoteCall): Promise<Record<string, unknown>> {
    const text = typeof json === 'string' ? json : JSON.stringify(json)
    return this.raw(this.#keys.stream(stream as Stream).metadata, stream, type, text, jobId, Buffer.from(delta, 'utf16le'), offset === undefined ? '' : String(offset), key)
  }

  /** Calls the function with any arguments. */
  async raw (key: string, ...args: ReadonlyArray<string | Buffer>): Promise<Record<string, unknown>> {
    const { name, settings } = this.access ?? await this.readAccess()
    return JSON.parse(String(await this.#server.command('FCALL', name, '1', key, settings, ...args))) as Record<string, unknown>
  }

  start (sessionId: string, jobId: string, task: object = {}): Promise<Record<string, unknown>> {
    return this.call(`session:${sessionId}`, { type: 'ai_start', json: task, jobId })
  }

  progress (sessionId: string, jobId: string, delta: string, offset?: number, progress: object = {}): Promise<Record<string, unknown>> {
    return this.call(`session:${sessionId}`, { type: 'ai_progress', json: progress, jobId, delta, ...(offset !== undefined && { offset }) })
  }

  complete (sessionId: string, jobId: string, result: object = {}): Promise<Record<string, unknown>> {
    return this.call(`session:${sessionId}`, { type: 'ai_complete', json: result, jobId })
  }

  fail (sessionId: string, jobId: string, error: object): Promise<Record<string, unknown>> {
    return this.call(`session:${sessionId}`, { type: 'ai_error', json: error, jobId })
  }
}
