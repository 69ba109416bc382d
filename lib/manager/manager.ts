import type { Broker, Revocation } from '../streams/broker.js'
import { newJobId } from '../streams/job-id.js'
import type { Clock } from '../util/clock.js'
import type { TIMED_OUT } from '../util/deadline.js'
import { errors } from '../util/errors.js'
import type { TrackableSource } from '../jobs/track-source.js'
import { reportable } from '../jobs/ai-error.js'
import { track, type TrackOptions } from '../jobs/track.js'
import { batchBody } from '../protocol/json.js'
import type { AIErrorInfo, AIProgress, AIResult, AITask } from '../protocol/messages.js'
import { fieldOf } from '../util/safe-error.js'
import { AIJob } from './ai-job.js'
import { AIRun, type AIOutcome } from './ai-run.js'
import { toAll, toSession, toUser } from './broadcasts.js'
import { createBatcher, type Batcher, type BatcherOptions } from './batcher.js'
import type { Cancellations } from '../connections/cancellations.js'
import type { AppMessage } from '../connections/app-message.js'
import { checkBody, serialize } from '../util/app-values.js'
import type { Cluster, ClusterStats, Disconnected } from './cluster.js'
import { checkCloseCode, checkId, readOption } from './report-values.js'
import type { Notifier, Receipt } from './notifier.js'
import { metrics, snapshot, type Metrics, type Stats, type StatsFilter, type StatsSources } from './stats.js'

export interface ManagerOptions extends StatsSources {
  readonly broker: Broker
  readonly clock: Clock
  readonly notifier: Notifier
  readonly cancellations: Cancellations
  readonly cluster: Cluster
  /** Maximum length of the text in the outcome of `runAI`, in UTF-16 units. */
  readonly maxTextUnits: number
}

/** Selects the job of a notification. */
export interface JobOptions {
  /**
   * Your own id for the job. With an id the rules are strict: a job has one end, and reports after it are dropped. Without an
   * id, a start creates a new job, other reports belong to the session's newest running job, and a result is never dropped.
   */
  jobId?: string
}

/** Options of a broadcast. */
export interface BroadcastOptions {
  /**
   * `false` sends the message to current subscribers only: it gets no sequence number and is not kept for replay. @default true
   */
  durable?: boolean
}

/**
 * Sends notifications to the subscribers of a session or a user. Available as `app.wsManager`.
 *
 * Each notification returns a promise of its `Receipt`. You need not await it: a failure is logged and counted, and never
 * becomes an unhandled rejection. Messages accepted before `app.close()` are sent. After it, each call resolves with
 * `{ recipients: 0 }`.
 *
 * The promise rejects with `AICW_ERR_INVALID_ID` for an invalid session, user or job id, with `AICW_ERR_INVALID_MESSAGE` for an
 * invalid message, and with `AICW_ERR_NOT_SERIALIZABLE` for values that JSON can't represent. In these cases nothing is sent.
 */
export class WebSocketManager {
  readonly #options: ManagerOptions
  readonly #notifier: Notifier
  readonly #batchers = new Set<Batcher>()
  readonly #runs = new Set<AIRun>()

  /** @internal */
  constructor (options: ManagerOptions) {
    this.#options = options
    this.#notifier = options.notifier
  }

  /** Reports the start of a job. `task` describes the job and may have fields of your own. */
  notifyAIStart (sessionId: string, task: AITask, options?: JobOptions): Promise<Receipt> {
    return this.#notifier.report(sessionId, { type: 'ai_start', task }, options)
  }

  /**
   * Reports the progress of a job. Current subscribers get each progress, and later subscribers get the newest one. A slow
   * consumer also gets only the newest one. `delta` is the text since the last progress. The server adds its `offset`, so that
   * clients can assemble the text, and sends later subscribers the text that they lack.
   */
  notifyAIProgress (sessionId: string, progress: AIProgress, options?: JobOptions): Promise<Receipt> {
    return this.#notifier.report(sessionId, { type: 'ai_progress', progress }, options)
  }

  /** Reports that a job completed. */
  notifyAIComplete (sessionId: string, result: AIResult, options?: JobOptions): Promise<Receipt> {
    return this.#notifier.report(sessionId, { type: 'ai_complete', result }, options)
  }

  /**
   * Reports that a job failed. For an `Error`, clients get its message and a `type` derived from its HTTP status, `type` or
   * `code`, such as `rate_limit_error`. Its stack and other fields stay on the server. Error messages reach clients. Pass your
   * own `{ message, type }` if they could leak internal details.
   */
  notifyAIError (sessionId: string, error: AIErrorInfo | Error, options?: JobOptions): Promise<Receipt> {
    return this.#notifier.report(sessionId, { type: 'ai_error', error }, options)
  }

  /**
   * Starts a job and returns a handle that reports its progress and its end. Use it if your code runs several jobs in a
   * session, or needs to know when a client cancels. Never throws: for invalid arguments, `handle.started` rejects.
   */
  startAI (sessionId: string, task: AITask, options?: JobOptions): AIJob {
    const { cancellations } = this.#options
    const jobId = fieldOf(options, 'jobId') as string | undefined ?? newJobId()
    const started = this.#notifier.report(sessionId, { type: 'ai_start', task }, { jobId })
    const removeHandle = (): void => { cancellations.removeHandle(job) }
    const job = new AIJob({ notifier: this.#notifier, sessionId, jobId, started, onTransfer: removeHandle })
    cancellations.addHandle(job)
    started.then(({ dropped, jobId: began }) => {
      if (began === undefined && dropped !== 'started') removeHandle()
    }, (error: unknown) => {
      // If the broker has failed, the app may go on with the job, and a cancel must reach it.
      if (isMistake(error) || this.#notifier.watched(sessionId, jobId) === undefined) removeHandle()
    })
    return job
  }

  /**
   * Takes over a job that another process has started and transferred, and returns its handle. This process then runs the job:
   * cancels abort the handle's `signal`, and the job ends as `interrupted` when this process closes. Resolves with undefined if no
   * such job is running.
   *
   * Rejects with `AICW_ERR_INVALID_ID` for an invalid session or job id, and with the broker's error.
   */
  adoptAI (sessionId: string, jobId: string): Promise<AIJob | undefined> {
    return this.#notifier.observe('adopt', async () => {
      checkId('sessionId', sessionId)
      checkId('jobId', jobId)
      const { cancellations } = this.#options
      const job: AIJob = new AIJob({
        notifier: this.#notifier, sessionId, jobId,
        started: Promise.resolve({ recipients: 0, jobId }),
        onTransfer: () => { cancellations.removeHandle(job) }
      })
      // Before the broker's answer, because a cancel may follow at once.
      cancellations.addHandle(job)
      const adopted = await this.#notifier.adopt(sessionId, jobId).catch((error: unknown) => {
        cancellations.removeHandle(job)
        throw error
      })
      if (adopted) return job
      cancellations.removeHandle(job)
      return undefined
    })
  }

  /**
   * Runs a job from its stream: reports its start, its progress (at most once per `throttleMs`, and once more before the end),
   * and its end. Returns the unchanged chunks of the stream.
   *
   * `source` is a function that gets the job's signal and returns the stream or a promise of it. Pass the signal to the model's
   * SDK, so that the model stops when a client cancels, `options.signal` aborts, or your code leaves the loop. You can also
   * pass a stream or a promise of one. A stream is the result of the OpenAI and Anthropic SDKs and the AI SDK, any async or
   * sync iterable, or a `ReadableStream`.
   *
   * An error of the stream or of the function ends the job and is rethrown. Leaving the loop early, aborting `signal` and a
   * client's cancel end the job as `cancelled`. **The latter two also throw the signal's reason (an `AbortError`) from the
   * loop**, so that your code never mistakes a partial text for the whole text.
   */
  trackAI<T> (
    sessionId: string, task: AITask, source: TrackableSource<T>, options: TrackOptions<T> & JobOptions = {}
  ): AsyncGenerator<T, void, undefined> {
    return track(this.startAI(sessionId, task, options), task, source, options, this.#options.clock)
  }

  /**
   * Runs a job in the background. It works like `trackAI`, but the server reads the stream to its end itself.
   *
   * Resolves with the outcome of the job, even if the model fails or the job is cancelled: see `AIOutcome`. It resolves once
   * the end was passed to the broker, even if the broker then fails. You need not await the promise: it never causes an
   * unhandled rejection. A stream that stops sending is not closed, although its subscribers get `stalled`. If the SDK has no
   * timeout, set one with `signal: AbortSignal.timeout(ms)`. `app.close()` stops the model, and the outcome is then an error of
   * type `interrupted`. After `app.close()`, `source` is not called.
   *
   * Rejects with `AICW_ERR_INVALID_ID` for an invalid session or job id, with `AICW_ERR_INVALID_MESSAGE` or
   * `AICW_ERR_NOT_SERIALIZABLE` for a task that can't be sent, and with an error for invalid options. In these cases `source`
   * is not called, and the rejection is logged.
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
      return this.#drain(run, track(run, task, source, { ...given, text, sendText: true }, this.#options.clock))
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
   * Cancels a job: aborts the `signal` of its handle, or calls `onCancel` for a job without one. Without a `jobId`, it cancels
   * the session's newest running job. Resolves with true if the cancel was accepted. Resolves with false if the job has no
   * handle and there is no `onCancel`, or if `onCancel` returns false, fails or times out. Failures and timeouts are logged.
   */
  cancelAI (sessionId: string, options?: JobOptions): Promise<boolean> {
    return this.#notifier.observe('cancel', async () => {
      checkId('sessionId', sessionId)
      const jobId = readOption(options, 'jobId')
      if (jobId !== undefined) checkId('jobId', jobId)
      if (this.#notifier.closed) return false
      return typeof await this.#options.cancellations.cancel(sessionId, jobId) === 'object'
    })
  }

  /** Sends your own message to all subscribers of the session. It needs a `type`. A `batch_update` is never kept for replay. */
  broadcastToSession (sessionId: string, message: AppMessage, options?: BroadcastOptions): Promise<Receipt> {
    return this.#notifier.publish('broadcast', () => toSession(sessionId, message, this.#notifier.timestamp(), readOption(options, 'durable')))
  }

  /** Sends your own message to every connection of the user, whatever sessions they are subscribed to. */
  broadcastToUser (userId: string, message: AppMessage, options?: BroadcastOptions): Promise<Receipt> {
    return this.#notifier.publish('broadcast', () => toUser(userId, message, this.#notifier.timestamp(), readOption(options, 'durable')))
  }

  /** Sends your own message to all connected clients. It has no sequence number and is not kept for replay. */
  broadcast (message: AppMessage): Promise<Receipt> {
    return this.#notifier.publish('broadcast', () => toAll(message, this.#notifier.timestamp()))
  }

  /**
   * Creates a batcher, which collects frequent messages of a session and sends them as one `batch_update` per `intervalMs`. A
   * large batch is sent earlier: see `BatcherOptions`. Close the batcher when you no longer need it. `app.close()` sends the
   * remaining messages.
   *
   * @throws `AICW_ERR_INVALID_ID` for an invalid session id, `AICW_ERR_INVALID_OPTION` for an invalid interval.
   */
  createBatcher (sessionId: string, { intervalMs = 100 }: BatcherOptions = {}): Batcher {
    const stream = `session:${checkId('sessionId', sessionId)}` as const
    if (!(intervalMs > 0)) throw new errors.InvalidOption('intervalMs', 'must be a number of milliseconds above 0')
    const batcher = createBatcher({
      clock: this.#options.clock,
      intervalMs,
      send: (messages) => {
        const body = batchBody(sessionId, messages, this.#notifier.timestamp())
        void this.#notifier.publish('batch_update', () => [stream, body, { durable: false }])
      },
      onClose: () => { this.#batchers.delete(batcher) }
    })
    this.#batchers.add(batcher)
    return batcher
  }

  /**
   * Revokes a user's access at once, on every node. With a `sessionId`, the user's connections are unsubscribed from that
   * session and get `unsubscribed` with `reason: 'revoked'`. Without it, they are closed with 4502, and clients don't
   * reconnect. Pending handshakes and subscriptions are refused too. Later ones are decided by your hooks, so make the hooks
   * refuse the user before you call this.
   */
  revoke (userId: string, sessionId?: string): Promise<void> {
    return this.#notifier.observe('revoke', async () => {
      checkId('userId', userId)
      const revocation: Revocation = sessionId === undefined ? { userId } : { userId, sessionId: checkId('sessionId', sessionId) }
      if (!this.#notifier.closed) await this.#options.broker.revoke(revocation)
    })
  }

  /**
   * Closes all connections of a user, on every node. With the code 1000, clients stay closed until the app connects them again.
   * With 1012 or 4000 to 4499 they reconnect, and your hooks decide again, such as after a change of the user's rights. After 4500
   * to 4999 they stay closed. Connections in the middle of their handshake are not closed: use `revoke` to end a user's access.
   *
   * Rejects with `AICW_ERR_INVALID_ID` for an invalid user id, and with `AICW_ERR_INVALID_OPTION` for a code that is none of 1000,
   * 1001, 1008, 1011, 1012, 1013 and 3000 to 4999.
   */
  disconnectUser (userId: string, code = 1000): Promise<Disconnected> {
    return this.#notifier.observe('disconnect', async () => {
      checkId('userId', userId)
      checkCloseCode(code)
      return this.#notifier.closed ? { connections: 0, missing: [] } : await this.#options.cluster.disconnectUser(userId, code)
    })
  }

  /** Returns the current connections of this node, as the stats route shows them. */
  getStats (filter?: StatsFilter): Stats {
    return snapshot(this.#options, filter)
  }

  /**
   * Returns the current connections of all nodes, and the names of living nodes that did not answer in time. `filter.limit` is at
   * most 1,000, and 1,000 by default. Rejects if the broker fails, or after `app.close()`.
   */
  getClusterStats (filter: StatsFilter = {}): Promise<ClusterStats> {
    return this.#notifier.observe('stats', () => this.#options.cluster.getStats(filter))
  }

  /** Returns the counters since the app started, and current gauges. */
  getMetrics (): Metrics {
    return metrics(this.#options)
  }

  /** @internal Flushes all batchers and ends the jobs of this process. After it, nothing is published. */
  async close (): Promise<typeof TIMED_OUT | undefined> {
    for (const batcher of this.#batchers) batcher.close()
    const closing = this.#notifier.close()
    // The notifier is closed, so the runs send nothing more. It reports them as interrupted itself.
    for (const run of this.#runs) run.interrupt()
    return await closing
  }
}

const MISTAKES: readonly unknown[] = ['AICW_ERR_INVALID_ID', 'AICW_ERR_INVALID_MESSAGE', 'AICW_ERR_INVALID_OPTION', 'AICW_ERR_NOT_SERIALIZABLE']

/** Whether a call was rejected because of its arguments. */
function isMistake (error: unknown): boolean {
  return MISTAKES.includes(fieldOf(error, 'code'))
}
