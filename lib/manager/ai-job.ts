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
  #onStalled: (() => void) | undefined

  /** @internal */
  constructor (options: {
    notifier: Notifier, sessionId: string, jobId: string, started: Promise<Receipt>
  }) {
    this.#notifier = options.notifier
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
    this.#watched ??= this.#notifier.watched(this.sessionId, this.jobId)
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
