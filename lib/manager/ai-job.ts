import { bound } from '../util/async-context.js'
import type { JobReporter } from '../jobs/track.js'
import type { AIErrorInfo, AIProgress, AIResult } from '../protocol/messages.js'
import type { Notifier, Receipt } from './notifier.js'
import type { WatchedJob } from './watchdog.js'

/**
 * Handle of a job that was started with `wsManager.startAI`. A job has one end, and reports after it are dropped. The methods
 * never throw. They return a promise of the report's receipt, which you need not await.
 */
export class AIJob implements JobReporter {
  readonly sessionId: string
  readonly jobId: string
  /** Receipt of the start. Rejects if the start was invalid or could not be sent. */
  readonly started: Promise<Receipt>
  readonly #notifier: Notifier
  readonly #controller = new AbortController()
  /** Aborts in the async context in which the app first read `signal`, because the listeners belong to the app. */
  #abort: (() => void) | undefined
  #watched: WatchedJob | undefined
  readonly #onTransfer: () => void
  #onStalled: (() => void) | undefined

  /** @internal */
  constructor (options: {
    notifier: Notifier, sessionId: string, jobId: string, started: Promise<Receipt>, onTransfer: (job: AIJob) => void
  }) {
    this.#notifier = options.notifier
    this.#onTransfer = () => { options.onTransfer(this) }
    this.sessionId = options.sessionId
    this.jobId = options.jobId
    this.started = options.started
  }

  /**
   * Aborts when a client or `wsManager.cancelAI` cancels the job. Your code must then end the job, by `error` with the type
   * `cancelled`.
   */
  get signal (): AbortSignal {
    this.#abort ??= bound(this.#abortNow)
    return this.#controller.signal
  }

  /**
   * Resets the stall timer (`jobs.stallAfterMs`) without sending a message. Use it for work that reports nothing for a long
   * time.
   */
  keepAlive (): void {
    if (this.#watched?.isWatched !== true) this.#watched = this.#notifier.watched(this.sessionId, this.jobId)
    this.#watched?.keepAlive()
  }

  /** Reports progress. `delta` is the text since the last progress. The server adds its `offset`. */
  progress (progress: AIProgress): Promise<Receipt> {
    return this.#notifier.report(this.sessionId, { type: 'ai_progress', progress }, this)
  }

  /** Ends the job as completed. If the result can't be sent, the job ends as an `internal_error` and the promise rejects. */
  complete (result: AIResult): Promise<Receipt> {
    return this.#notifier.report(this.sessionId, { type: 'ai_complete', result }, this)
  }

  /** Ends the job as failed. The error is converted as in `notifyAIError`. */
  error (error: AIErrorInfo | Error): Promise<Receipt> {
    return this.#notifier.report(this.sessionId, { type: 'ai_error', error }, this)
  }

  /**
   * Gives the job up, so that another process can continue it with `wsManager.adoptAI`. This process then no longer ends the job
   * when it closes, and cancels no longer abort `signal`. If no process adopts the job or reports on it within
   * `jobs.stallAfterMs`, it ends as `stalled`. Resolves with false if the job is not running, or another process runs it.
   */
  async transfer (): Promise<boolean> {
    // Before its start the broker does not know the job. If the start rejects, the app learns of it by `started`.
    await this.started.catch(() => undefined)
    const released = await this.#notifier.release(this.sessionId, this.jobId)
    if (released) this.#onTransfer()
    return released
  }

  /** @internal */
  onceStalled (callback: () => void): void {
    this.#onStalled = callback
  }

  /** @internal */
  warn (message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#notifier.warn(this, message, fields)
  }

  /** @internal */
  stall (): void {
    this.#onStalled?.()
  }

  /** @internal */
  cancel (): void {
    const abort = this.#abort ?? this.#abortNow
    abort()
  }

  readonly #abortNow = (): void => {
    this.#controller.abort(new DOMException('the job was cancelled', 'AbortError'))
  }
}
