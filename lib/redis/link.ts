import type { Clock, Timer } from '../util/clock.js'
import { messageOf } from '../util/safe-error.js'
import type { RedisClient } from './client.js'

export type Argument = string | Buffer | number

export interface LinkOptions {
  readonly clock: Clock
  readonly createClient: () => RedisClient
  /** Called when a connection is ready for commands. */
  readonly onUp: () => void
  /** Called when the connection is lost, with the reason. */
  readonly onDown: (reason: string) => void
  /** Called with each message of a subscribed channel. */
  readonly onMessage?: (channel: Buffer, message: Buffer) => void
}

/** A command that takes longer is rejected, in milliseconds. Redis may still execute it. */
const DEADLINE_MS = 5_000
/** How often the deadlines are checked. */
const CHECK_MS = 250
/** Bytes of arguments that may wait for replies. Further commands are rejected at once. */
const MAX_BYTES = 64 * 1024 * 1024
/** A connection that takes longer to make is given up, in milliseconds. With what closing it takes, less than Fastify's `pluginTimeout`. */
const CONNECT_MS = 5_000
const MIN_DELAY_MS = 50
const MAX_DELAY_MS = 2_000

interface Pending {
  readonly deadline: number
  readonly reject: (error: Error) => void
}

/** Thrown if there is no connection. The command was not sent, so it may be repeated. */
export class NotSentError extends Error {}

/**
 * A connection to Redis that is made again whenever it is lost. A command is never sent twice. While there is no connection,
 * commands are rejected at once.
 */
export class Link {
  readonly #options: LinkOptions
  /** Commands without a reply, oldest first. */
  readonly #pending = new Set<Pending>()
  #client: RedisClient | undefined
  /** Whether commands may be sent. */
  #isUp = false
  /** Whether the client was connected. Then another one follows when it has ended. */
  #wasConnected = false
  #isClosed = false
  #isCorked = false
  #bytes = 0
  #delayMs = MIN_DELAY_MS
  #retry: Timer | undefined
  #check: Timer | undefined
  #reason = 'it is not connected yet'
  /** Time of the latest reply. */
  #repliedAt = 0
  #isWaiting = false

  constructor (options: LinkOptions) {
    this.#options = options
  }

  get isUp (): boolean {
    return this.#isUp
  }

  /** Connects. Rejects if the first attempt fails; then no other one follows. */
  async open (): Promise<void> {
    try {
      await this.#connect()
    } catch (error) {
      this.close()
      throw new Error(`${messageOf(error)} (start Redis, or correct the option "redis")`, { cause: error })
    }
  }

  /** Sends a command. Its arguments are strings in UTF-8 or bytes, its reply contains buffers. */
  call (command: string, args: readonly Argument[]): Promise<unknown> {
    const client = this.#client
    // The stream ends some time before the client says so. A client that connects has none yet.
    if (this.#isUp && client?.stream.writable === false) this.#down()
    if (client === undefined || !this.#isUp) return Promise.reject(new NotSentError(`Redis can't be reached: ${this.#reason}`))
    const bytes = args.reduce<number>((sum, arg) => sum + (typeof arg === 'number' ? 8 : arg.length), command.length)
    if (this.#bytes + bytes > MAX_BYTES) return Promise.reject(new Error(`Redis does not keep up: more than ${MAX_BYTES} bytes wait for replies`))
    this.#bytes += bytes
    return new Promise((resolve, reject) => {
      const pending = { deadline: this.#options.clock.monotonic() + DEADLINE_MS, reject }
      this.#pending.add(pending)
      this.#check ??= this.#checkLater()
      const settled = (): void => {
        this.#bytes -= bytes
        this.#pending.delete(pending)
      }
      this.#cork(client)
      client.callBuffer(command, ...args).then((reply) => {
        settled()
        this.#repliedAt = this.#options.clock.monotonic()
        resolve(reply)
      }, (error: unknown) => {
        settled()
        reject(error instanceof Error ? error : new Error(String(error)))
      })
    })
  }

  /** Counts the connection as good. Otherwise the delay before the next attempt grows. */
  confirm (): void {
    this.#delayMs = MIN_DELAY_MS
  }

  /** Makes the next attempt to connect now, because the other connection shows that Redis can be reached. */
  hurry (): void {
    if (this.#isWaiting) this.#reconnect()
  }

  /** Drops the connection. A new one is made when it has ended, which may take seconds. */
  reset (reason: string): void {
    this.#reason = reason
    this.#client?.disconnect()
    this.#down()
  }

  close (): void {
    this.#isClosed = true
    this.#reason = 'the broker is closed'
    this.#retry?.cancel()
    this.#check?.cancel()
    this.#isUp = false
    this.#client?.disconnect()
    for (const { reject } of this.#pending) reject(new Error('the broker is closed'))
    this.#pending.clear()
  }

  /** Makes the commands of this tick leave in one write. The client would make one for each. */
  #cork ({ stream }: RedisClient): void {
    if (this.#isCorked) return
    this.#isCorked = true
    stream.cork()
    process.nextTick(() => {
      this.#isCorked = false
      stream.uncork()
    })
  }

  async #connect (): Promise<void> {
    const { clock, createClient, onMessage, onUp } = this.#options
    const client = createClient()
    this.#client = client
    client.on('error', (error: Error) => { this.#reason = error.message })
    client.on('end', () => { this.#lost(client) })
    if (onMessage !== undefined) {
      client.on('messageBuffer', (channel: Buffer, message: Buffer) => { if (client === this.#client && this.#isUp) onMessage(channel, message) })
    }
    // A server that accepts the connection and then stands still would be waited for without end.
    const timeout = clock.after(CONNECT_MS, () => {
      this.#reason = `the server did not answer within ${CONNECT_MS} ms`
      client.disconnect()
    })
    try {
      await client.connect()
    } catch (error) {
      client.disconnect()
      // The event says more: the promise often rejects with "Connection is closed.".
      throw new Error(`Redis can't be reached: ${this.#reason === 'it is not connected yet' ? (error as Error).message : this.#reason}`, { cause: error })
    } finally {
      timeout.cancel()
    }
    if (this.#isClosed || client !== this.#client) {
      client.disconnect()
      return
    }
    this.#isUp = this.#wasConnected = true
    onUp()
  }

  #lost (client: RedisClient): void {
    if (client !== this.#client || this.#isClosed) return
    this.#down()
    this.#client = undefined
    if (!this.#wasConnected) return
    this.#wasConnected = false
    this.#reconnectLater()
  }

  #down (): void {
    if (!this.#isUp || this.#isClosed) return
    this.#isUp = false
    if (this.#reason === 'it is not connected yet') this.#reason = 'the connection was lost'
    this.#options.onDown(this.#reason)
  }

  #reconnectLater (): void {
    this.#retry?.cancel()
    const delayMs = this.#delayMs * (0.5 + Math.random() / 2)
    this.#delayMs = Math.min(2 * this.#delayMs, MAX_DELAY_MS)
    this.#isWaiting = true
    this.#retry = this.#options.clock.after(delayMs, () => { this.#reconnect() })
  }

  #reconnect (): void {
    this.#retry?.cancel()
    this.#isWaiting = false
    this.#connect().catch(() => { if (!this.#isClosed) this.#reconnectLater() })
  }

  #checkLater (): Timer {
    return this.#options.clock.after(CHECK_MS, () => {
      const now = this.#options.clock.monotonic()
      for (const pending of this.#pending) {
        if (pending.deadline > now) break
        this.#pending.delete(pending)
        const error = new Error(`Redis did not answer within ${DEADLINE_MS} ms`)
        pending.reject(error)
        // Nothing has come for as long: the server stands still, or the connection is broken without a sign of it.
        if (this.#repliedAt < now - DEADLINE_MS) this.reset(error.message)
      }
      this.#check = this.#pending.size > 0 ? this.#checkLater() : undefined
    })
  }
}
