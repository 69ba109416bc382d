import type { Broker, ControlMessage, PublishOptions, Stream } from '../broker/broker.js'
import { isoTimestamps, type Clock } from '../clock.js'
import { errors } from '../errors.js'
import type { AIErrorInfo, AIProgress, AIResult, AITask } from '../protocol/messages.js'
import { createBatcher, type Batcher, type BatcherOptions } from './batcher.js'
import type { Logger } from './logger.js'
import { checkBody, checkId, readError, serialize, serializeAppMessage, type AppMessage } from './messages.js'
import { metrics, snapshot, type Metrics, type Stats, type StatsFilter, type StatsSources } from './stats.js'

/** What became of a notification. */
export interface Receipt {
  /** Which life of the session's or the user's stream it belongs to. Absent after the app was closed. */
  epoch?: string
  /** Its number in the stream; for a message that is not numbered, the latest one before it. Absent after the app was closed. */
  seq?: number
  /** How many connections it was handed to. 0 when nobody follows, which is no error. */
  recipients: number
}

export interface ManagerOptions extends StatsSources {
  readonly broker: Broker
  readonly clock: Clock
  readonly log: Logger
}

const DURABLE: PublishOptions = { durable: true }
const EPHEMERAL: PublishOptions = { durable: false }

/**
 * Tells the followers of a session or a user what happens. `app.wsManager` is one.
 *
 * Each notification returns a promise of its `Receipt`. It need not be awaited: a failure is logged and counted, and
 * never an unhandled rejection. What was accepted before `app.close()` is sent; after it, everything resolves with
 * `{ recipients: 0 }`.
 *
 * They reject with `AICW_ERR_INVALID_ID` for a session or user id that can't be one, `AICW_ERR_INVALID_MESSAGE` for what
 * is no message, and `AICW_ERR_NOT_SERIALIZABLE` for what JSON can't hold; then nothing was sent.
 */
export class WebSocketManager {
  readonly #options: ManagerOptions
  readonly #timestamp: () => string
  readonly #batchers = new Set<Batcher>()
  #closed = false

  /** @internal */
  constructor (options: ManagerOptions) {
    this.#options = options
    this.#timestamp = isoTimestamps(options.clock)
  }

  /** Says that a job started. `task` is what it was asked to do; fields of your own pass through. */
  notifyAIStart (sessionId: string, task: AITask): Promise<Receipt> {
    return this.#notify('ai_start', sessionId, 'task', () => checkBody('task', task))
  }

  /**
   * Says how far it is. Sent to those who follow now; to a reader that is behind, only the newest is sent.
   */
  notifyAIProgress (sessionId: string, progress: AIProgress): Promise<Receipt> {
    return this.#notify('ai_progress', sessionId, 'progress', () => checkBody('progress', progress))
  }

  /** Says that it ended well. */
  notifyAIComplete (sessionId: string, result: AIResult): Promise<Receipt> {
    return this.#notify('ai_complete', sessionId, 'result', () => checkBody('result', result))
  }

  /**
   * Says that it failed. Of an `Error` the clients get its message and a `type` derived from its HTTP status, `type` or
   * `code` (`rate_limit_error`, …); its stack and other fields stay here. Mind what its message tells.
   */
  notifyAIError (sessionId: string, error: AIErrorInfo | Error): Promise<Receipt> {
    return this.#notify('ai_error', sessionId, 'error', () => readError(error))
  }

  /** Sends a message of your own to everyone who follows the session. It needs a `type`. */
  broadcastToSession (sessionId: string, message: AppMessage): Promise<Receipt> {
    return this.#publish('broadcast', () => {
      const stream = `session:${checkId('sessionId', sessionId)}` as const
      const body = serializeAppMessage(message, this.#timestamp(), sessionId)
      return [stream, body, message.type === 'batch_update' ? EPHEMERAL : DURABLE]
    })
  }

  /** Sends a message of your own to every connection of the user, whatever sessions they follow. */
  broadcastToUser (userId: string, message: AppMessage): Promise<Receipt> {
    return this.#publish('broadcast', () => {
      const stream = `user:${checkId('userId', userId)}` as const
      return [stream, serializeAppMessage(message, this.#timestamp()), DURABLE]
    })
  }

  /** Sends a message of your own to everyone who is connected now. It is not numbered. */
  broadcast (message: AppMessage): Promise<Receipt> {
    return this.#publish('broadcast', () => ['all', serializeAppMessage(message, this.#timestamp()), EPHEMERAL])
  }

  /**
   * Collects frequent messages of a session, and sends what there is as one `batch_update` each `intervalMs`. Close it
   * when its work is done; `app.close()` sends what is left.
   *
   * @throws `AICW_ERR_INVALID_ID` for a session id that can't be one, `AICW_ERR_INVALID_OPTION` for the interval.
   */
  createBatcher (sessionId: string, { intervalMs = 100 }: BatcherOptions = {}): Batcher {
    const stream = `session:${checkId('sessionId', sessionId)}` as const
    if (!(intervalMs > 0)) throw new errors.InvalidOption('intervalMs', 'must be a number of milliseconds above 0')
    const id = JSON.stringify(sessionId)
    const batcher = createBatcher({
      clock: this.#options.clock,
      intervalMs,
      send: (messages) => {
        const body = `{"type":"batch_update","sessionId":${id},"messages":[${messages.join(',')}],"timestamp":"${this.#timestamp()}"}`
        void this.#publish('batch_update', () => [stream, body, EPHEMERAL])
      },
      onClose: () => { this.#batchers.delete(batcher) }
    })
    this.#batchers.add(batcher)
    return batcher
  }

  /**
   * Takes a right back at once, on every node. With a session the user's connections leave it and are told
   * (`unsubscribed` with `reason: 'revoked'`); without one they are closed with 4502, after which clients stay away.
   * Connections and subscriptions that are being decided at this moment are refused too. The next ones are decided by
   * your hooks: make them say no first.
   */
  revoke (userId: string, sessionId?: string): Promise<void> {
    return this.#observed('revoke', async () => {
      checkId('userId', userId)
      const message: ControlMessage = sessionId === undefined
        ? { type: 'revoke', userId }
        : { type: 'revoke', userId, sessionId: checkId('sessionId', sessionId) }
      if (!this.#closed) await this.#options.broker.control(message)
    })
  }

  /** Who is connected now. */
  getStats (filter?: StatsFilter): Stats {
    return snapshot(this.#options, filter)
  }

  /** Counters since the app started. */
  getMetrics (): Metrics {
    return metrics(this.#options)
  }

  /** @internal Sends what batchers hold; after it nothing is published. */
  close (): void {
    for (const batcher of this.#batchers) batcher.close()
    this.#closed = true
  }

  #notify (
    type: 'ai_start' | 'ai_progress' | 'ai_complete' | 'ai_error', sessionId: string,
    field: string, content: () => object
  ): Promise<Receipt> {
    return this.#publish(type, () => {
      const stream = `session:${checkId('sessionId', sessionId)}` as const
      const options = type === 'ai_progress' ? { durable: false, collapseKey: `${type} ${stream}` } : DURABLE
      return [stream, serialize({ type, sessionId, [field]: content(), timestamp: this.#timestamp() }), options]
    })
  }

  #publish (what: string, prepare: () => [Stream, string, PublishOptions]): Promise<Receipt> {
    return this.#observed(what, async () => {
      const [stream, body, options] = prepare()
      if (this.#closed) return { recipients: 0 }
      return await this.#options.broker.publish(stream, body, options)
    })
  }

  /** Runs up to its first await at once. Never throws, and the rejection of its promise is observed already. */
  #observed<T> (what: string, work: () => Promise<T>): Promise<T> {
    const result = work()
    result.catch((err: unknown) => {
      this.#options.counters.failed++
      this.#options.log.error({ err, what }, 'a notification failed')
    })
    return result
  }
}
