import { bound } from '../util/async-context.js'
import type { CancellableJob } from '../connections/cancellations.js'
import type { JobReporter } from '../jobs/track.js'
import type { AIErrorInfo, AIProgress, AIResult } from '../protocol/messages.js'
import type { Notifier, Receipt } from './notifier.js'
import type { WatchedJob } from './watchdog.js'

/**
 * A job that was started with `wsManager.startAI`. Its rules are strict: one end, and nothing after it. Its methods never
 * throw; what became of a report is told in the promise, which need not be awaited.
 */
export class AIJob implements JobReporter, CancellableJob {
  readonly sessionId: string
  readonly jobId: string
  /** What became of the start. */
  readonly started: Promise<Receipt>
  readonly #notifier: Notifier
  readonly #controller = new AbortController()
  /** Its listeners are the app's, so it is called in the context in which the signal was asked for. */
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

  /** Fires when a client, or `wsManager.cancelAI`, cancels the job. Ending it is then yours to do: `error` with type `cancelled`. */
  get signal (): AbortSignal {
    this.#abort ??= bound(this.#abortNow)
    return this.#controller.signal
  }

  /**
   * Says that it still runs, and nothing else: no message is sent, and it does not count as stalled for another
   * `jobs.stallAfterMs`. For work that has nothing to tell for long.
   */
  keepAlive (): void {
    this.#watched ??= this.#notifier.watched(this.sessionId, this.jobId)
    this.#watched?.keepAlive()
  }

  /** Says how far it is. `delta` is the text since the last progress; `offset` is counted by the server. */
  progress (progress: AIProgress): Promise<Receipt> {
    return this.#notifier.report(this.sessionId, { type: 'ai_progress', progress }, this)
  }

  /** Ends it well. A result that can't be sent ends it as an `internal_error`, and the promise rejects. */
  complete (result: AIResult): Promise<Receipt> {
    return this.#notifier.report(this.sessionId, { type: 'ai_complete', result }, this)
  }

  /** Ends it with an error, read as `notifyAIError` does. */
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
