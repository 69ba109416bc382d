import type { Broker, ControlMessage, PublishOptions } from '../streams/broker.js'
import { newJobId } from '../streams/job-id.js'
import type { Clock } from '../util/clock.js'
import type { TIMED_OUT } from '../util/deadline.js'
import { errors } from '../util/errors.js'
import { SharedTimers } from '../jobs/shared-timers.js'
import type { TrackableSource } from '../jobs/track-source.js'
import { reportable } from '../jobs/ai-error.js'
import { track, type TrackOptions } from '../jobs/track.js'
import type { AIErrorInfo, AIProgress, AIResult, AITask } from '../protocol/messages.js'
import { fieldOf } from '../util/safe-error.js'
import { AIJob } from './ai-job.js'
import { AIRun, type AIOutcome } from './ai-run.js'
import { createBatcher, type Batcher, type BatcherOptions } from './batcher.js'
import type { Cancellations } from '../connections/cancellations.js'
import { serializeAppMessage, type AppMessage } from '../connections/app-message.js'
import { checkBody, serialize } from '../util/app-values.js'
import { checkId, readOption } from './report-values.js'
import type { Notifier, Receipt } from './notifier.js'
import { metrics, snapshot, type Metrics, type Stats, type StatsFilter, type StatsSources } from './stats.js'

export interface ManagerOptions extends StatsSources {
  readonly broker: Broker
  readonly clock: Clock
  readonly notifier: Notifier
  readonly cancellations: Cancellations
  /** How much of its text the outcome of `runAI` holds. */
  readonly maxTextUnits: number
}

/** Which job a notification is about. */
export interface JobOptions {
  /**
   * A job's id of your own. With it the rules are strict: one end, and nothing after it. Without it the session's newest
   * running job is meant: a start opens a new one, and a result is never dropped.
   */
  jobId?: string
}

/** How a message of the app's own is sent. */
export interface BroadcastOptions {
  /** False: only for those who follow now. It gets no number, and is not kept for those who come back. @default true */
  durable?: boolean
}

const EPHEMERAL: PublishOptions = { durable: false }

/**
 * Tells the subscribers of a session or a user what happens. `app.wsManager` is one.
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
  readonly #notifier: Notifier
  readonly #timers: SharedTimers
  readonly #batchers = new Set<Batcher>()
  readonly #runs = new Set<AIRun>()

  /** @internal */
  constructor (options: ManagerOptions) {
    this.#options = options
    this.#notifier = options.notifier
    this.#timers = new SharedTimers(options.clock)
  }

  /** Says that a job started. `task` is what it was asked to do; fields of your own pass through. */
  notifyAIStart (sessionId: string, task: AITask, options?: JobOptions): Promise<Receipt> {
    return this.#notifier.report(sessionId, { type: 'ai_start', task }, options)
  }

  /**
   * Says how far it is. Sent to those who follow now, and the newest to those who come later; to a reader that is behind,
   * only the newest. `delta` is the text since the last progress: readers stitch it together by the `offset` that the
   * server adds, and those who come late are sent what they lack.
   */
  notifyAIProgress (sessionId: string, progress: AIProgress, options?: JobOptions): Promise<Receipt> {
    return this.#notifier.report(sessionId, { type: 'ai_progress', progress }, options)
  }

  /** Says that it ended well. */
  notifyAIComplete (sessionId: string, result: AIResult, options?: JobOptions): Promise<Receipt> {
    return this.#notifier.report(sessionId, { type: 'ai_complete', result }, options)
  }

  /**
   * Says that it failed. Of an `Error` the clients get its message and a `type` derived from its HTTP status, `type` or
   * `code` (`rate_limit_error`, …); its stack and other fields stay here. Mind what its message tells.
   */
  notifyAIError (sessionId: string, error: AIErrorInfo | Error, options?: JobOptions): Promise<Receipt> {
    return this.#notifier.report(sessionId, { type: 'ai_error', error }, options)
  }

  /**
   * Starts a job and returns a handle for the rest of it: for code that runs several, or wants to be told when a client
   * cancels. Never throws: what is wrong with its arguments is told by `handle.started`.
   */
  startAI (sessionId: string, task: AITask, options?: JobOptions): AIJob {
    const { cancellations } = this.#options
    const jobId = fieldOf(options, 'jobId') as string | undefined ?? newJobId()
    const started = this.#notifier.report(sessionId, { type: 'ai_start', task }, { jobId })
    const job = new AIJob({ notifier: this.#notifier, sessionId, jobId, started })
    cancellations.listen(job)
    const unlisten = (): void => { cancellations.unlisten(job) }
    started.then(({ dropped, jobId: began }) => { if (began === undefined && dropped !== 'started') unlisten() }, unlisten)
    return job
  }

  /**
   * Runs a job from its stream: reports its start, its progress (at most each `throttleMs`, and a last one), and its end,
   * and passes the chunks through untouched.
   *
   * `source` is a function of the job's signal that returns the stream, or a promise of it: pass the signal to the model's
   * SDK, so that the model stops when a client cancels, `options.signal` aborts, or the reader leaves. A stream, or a promise
   * of one, is taken too. A stream is what the OpenAI and Anthropic SDKs and the AI SDK return, any async or sync iterable, or
   * a `ReadableStream`.
   *
   * The source's error ends the job and is rethrown; so is what the function throws. Leaving the loop early, an aborted
   * `signal` and a client's cancel end it as `cancelled`. **The latter two also throw to the reader**, the signal's reason
   * (an `AbortError`), so that nobody takes half a text for the whole.
   */
  trackAI<T> (
    sessionId: string, task: AITask, source: TrackableSource<T>, options: TrackOptions<T> & JobOptions = {}
  ): AsyncGenerator<T, void, undefined> {
    return track(this.startAI(sessionId, task, options), task, source, options, this.#timers)
  }

  /**
   * Runs a job in the background: what `trackAI` does, without a reader. The server reads the stream itself, to its end.
   *
   * Resolves with how the job ended, also for a model that fails and for a cancel: see `AIOutcome`. It resolves when the end
   * was handed to the broker, whatever the broker makes of it. The app need not await it: it never becomes an unhandled
   * rejection. A stream that falls silent is not given up, though its subscribers are sent `stalled` meanwhile: bound it with
   * `signal: AbortSignal.timeout(ms)` where the SDK does not. `app.close()` stops the model, and the outcome is an error of
   * type `interrupted`; after it no model is asked.
   *
   * Rejects with `AICW_ERR_INVALID_ID` for a session or job id that can't be one, `AICW_ERR_INVALID_MESSAGE` and
   * `AICW_ERR_NOT_SERIALIZABLE` for a task that can't be sent, and with what is wrong with the options. Then no model is
   * asked, and a rejection is logged.
   */
  runAI<T> (
    sessionId: string, task: AITask, source: TrackableSource<T>, options?: TrackOptions<T> & JobOptions
  ): Promise<AIOutcome> {
    let job: AIJob | undefined
    try {
      const { jobId, text = false, sendText = text !== false, ...given } = { ...options }
      checkId('sessionId', sessionId)
      if (jobId !== undefined) checkId('jobId', jobId)
      serialize(checkBody('task', task))
      job = this.startAI(sessionId, task, jobId === undefined ? {} : { jobId })
      const run = new AIRun({ job, sendText, maxTextUnits: this.#options.maxTextUnits })
      if (this.#notifier.closed) run.interrupt()
      return this.#drain(run, track(run, task, source, { ...given, text, sendText: true }, this.#timers))
    } catch (error) {
      void job?.error(reportable(error))
      return this.#notifier.observe('runAI', () => Promise.reject(error as Error))
    }
  }

  async #drain (run: AIRun, chunks: AsyncGenerator<unknown, void>): Promise<AIOutcome> {
    this.#runs.add(run)
    const outcome = await run.drain(chunks)
    this.#runs.delete(run)
    return outcome
  }

  /**
   * Cancels a job: its handle's `signal` fires, or `onCancel` is asked. Without a `jobId` the session's newest running one.
   * Resolves with whether somebody took it: false when nobody listens for it, when `onCancel` answers false, and when it
   * fails or gives no answer in time, which is logged.
   */
  cancelAI (sessionId: string, options?: JobOptions): Promise<boolean> {
    return this.#notifier.observe('cancel', async () => {
      checkId('sessionId', sessionId)
      const jobId = readOption(options, 'jobId')
      if (jobId !== undefined) checkId('jobId', jobId)
      return typeof await this.#options.cancellations.cancel(sessionId, jobId) === 'object'
    })
  }

  /** Sends a message of your own to everyone who follows the session. It needs a `type`. A `batch_update` is never kept. */
  broadcastToSession (sessionId: string, message: AppMessage, options?: BroadcastOptions): Promise<Receipt> {
    return this.#notifier.publish('broadcast', () => {
      const durable = readOption(options, 'durable') ?? true
      const stream = `session:${checkId('sessionId', sessionId)}` as const
      const body = serializeAppMessage(message, this.#notifier.timestamp(), sessionId)
      return [stream, body, { durable: durable && message.type !== 'batch_update' }]
    })
  }

  /** Sends a message of your own to every connection of the user, whatever sessions they follow. */
  broadcastToUser (userId: string, message: AppMessage, options?: BroadcastOptions): Promise<Receipt> {
    return this.#notifier.publish('broadcast', () => {
      const durable = readOption(options, 'durable') ?? true
      const stream = `user:${checkId('userId', userId)}` as const
      return [stream, serializeAppMessage(message, this.#notifier.timestamp()), { durable }]
    })
  }

  /** Sends a message of your own to everyone who is connected now. It is not numbered. */
  broadcast (message: AppMessage): Promise<Receipt> {
    return this.#notifier.publish('broadcast', () => ['all', serializeAppMessage(message, this.#notifier.timestamp()), EPHEMERAL])
  }

  /**
   * Collects frequent messages of a session, and sends what there is as one `batch_update` each `intervalMs`, or earlier
   * when it is much: see `BatcherOptions`. Close it when its work is done; `app.close()` sends what is left.
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
        const body = `{"type":"batch_update","sessionId":${id},"messages":[${messages.join(',')}],"timestamp":"${this.#notifier.timestamp()}"}`
        void this.#notifier.publish('batch_update', () => [stream, body, EPHEMERAL])
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
    return this.#notifier.observe('revoke', async () => {
      checkId('userId', userId)
      const message: ControlMessage = sessionId === undefined
        ? { type: 'revoke', userId }
        : { type: 'revoke', userId, sessionId: checkId('sessionId', sessionId) }
      if (!this.#notifier.closed) await this.#options.broker.control(message)
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

  /** @internal Sends what batchers hold, and ends the jobs that this process runs; after it nothing is published. */
  async close (): Promise<typeof TIMED_OUT | undefined> {
    for (const batcher of this.#batchers) batcher.close()
    const closing = this.#notifier.close()
    // From here on nothing of them is sent: that they were interrupted is what the notifier sends.
    for (const run of this.#runs) run.interrupt()
    return await closing
  }
}
