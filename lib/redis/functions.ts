import type { Argument, Link } from './link.js'
import { functionName, LIBRARY } from './lua/library.js'

/** Thrown if the store has lost history since this node last looked. The command was not executed. */
export class OutdatedError extends Error {}

/** Thrown if a key of a stream belongs to another program. Other streams are not concerned. */
export class ForeignKeyError extends Error {}

interface Waiting {
  readonly order: number
  readonly start: () => void
  readonly fail: (error: unknown) => void
}

/** Executes commands, and the functions of the library. Errors name the fix. */
export class Functions {
  readonly #link: Link
  readonly #prefix: string
  #order = 0
  /** Calls that wait until the library is loaded. */
  #waiting: Waiting[] | undefined

  constructor (link: Link, prefix: string) {
    this.#link = link
    this.#prefix = prefix
  }

  async call (command: string, args: readonly Argument[]): Promise<unknown> {
    try {
      return await this.#link.call(command, args)
    } catch (error) {
      throw explained(error, this.#prefix)
    }
  }

  /**
   * Executes a function. If Redis does not have the library, the function was not executed, and this loads the library: Redis is new,
   * or came back empty. The calls that wait for that keep their order.
   */
  async run (name: Parameters<typeof functionName>[0], keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    const order = ++this.#order
    const call = (): Promise<unknown> => this.#link.call('FCALL', [functionName(name), keys.length, ...keys, ...args])
    try {
      if (this.#waiting !== undefined) return await this.#afterLoad(order, call)
      return await call().catch((error: unknown) => {
        if (!messageOf(error).includes('Function not found')) throw error
        return this.#afterLoad(order, call)
      })
    } catch (error) {
      throw explained(error, this.#prefix)
    }
  }

  #afterLoad (order: number, call: () => Promise<unknown>): Promise<unknown> {
    let waiting = this.#waiting
    if (waiting === undefined) {
      waiting = this.#waiting = []
      void this.#load(waiting)
    }
    const queue = waiting
    return new Promise((resolve, reject) => {
      queue.push({ order, fail: reject, start: () => { call().then(resolve, reject) } })
    })
  }

  async #load (waiting: Waiting[]): Promise<void> {
    const failure = await this.#link.call('FUNCTION', ['LOAD', LIBRARY]).then(() => undefined, (error: unknown) => {
      // Another node has just loaded it.
      return messageOf(error).includes('already exists') ? undefined : { error }
    })
    this.#waiting = undefined
    // Redis has refused all calls that were sent before, and has said so before it confirmed the load.
    waiting.sort((a, b) => a.order - b.order)
    for (const { start, fail } of waiting) {
      if (failure === undefined) start()
      else fail(failure.error)
    }
  }
}

/** Turns an error of Redis into one that names the fix. */
export function explained (error: unknown, prefix: string): Error {
  const message = messageOf(error)
  if (message.includes('AICWGEN')) return new OutdatedError('the store has lost history')
  if (message.includes('WRONGTYPE')) {
    return new ForeignKeyError(`a key that begins with "${prefix}" has another type: it belongs to another program. Choose another value of the option "prefix"`, { cause: error })
  }
  if (/NOPERM|NOAUTH|permission/.test(message)) {
    return new Error(`Redis refuses a command of ai-canvas-ws: ${message}. Grant its user the keys, channels and commands that its README lists`, { cause: error })
  }
  if (message.includes('OOM')) return new Error('Redis has reached its maxmemory: raise it, or lower the limits of history', { cause: error })
  return error instanceof Error ? error : new Error(message)
}

export function messageOf (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
