import { describeError } from '../jobs/ai-error.js'
import { JobText } from '../streams/job-text.js'
import type { JobReporter } from '../jobs/track.js'
import type { AIErrorInfo, AIProgress, AIResult } from '../protocol/messages.js'
import type { AIJob } from './ai-job.js'
import { checkBody, serialize } from '../util/app-values.js'
import { INTERRUPTED, STALLED, UNSENDABLE } from './notifier.js'

interface Ended {
  /** The job's id: yours, or one that the server generated. */
  jobId: string
  /**
   * The text that was streamed, which `contentLength` counts. It is read as the option `text` says. It is also collected
   * without that option, even if it is not sent. Holds at most the last `jobs.maxTextUnits` UTF-16 units.
   */
  text: string
  /** True if the beginning of `text` is missing, because the text exceeds `jobs.maxTextUnits`. Absent otherwise. */
  truncated?: true
}

/** Outcome of a job that completed. */
export interface AICompletion extends Ended {
  status: 'complete'
  /** The result that subscribers got in `ai_complete`. */
  result: AIResult
}

/** Outcome of a job that failed or was cancelled. */
export interface AIFailure extends Ended {
  /** `cancelled` if a client, `wsManager.cancelAI` or the option `signal` cancelled the job. `error` otherwise. */
  status: 'error' | 'cancelled'
  /** The error that subscribers got in `ai_error`. Its type is `cancelled` if and only if `status` is. */
  error: AIErrorInfo
  /**
   * The thrown error, for the app's log. After a cancel, it is the signal's reason. Absent if the stream reported its failure
   * in a chunk.
   */
  cause?: unknown
}

/** Outcome of a job of `wsManager.runAI`. `status` is the discriminator. */
export type AIOutcome = AICompletion | AIFailure

type End =
  | { readonly status: 'complete', readonly result: AIResult }
  | { readonly status: 'error' | 'cancelled', readonly error: AIErrorInfo, readonly cause?: unknown }

export interface AIRunOptions {
  readonly job: AIJob
  readonly maxTextUnits: number
  /** Whether the text is sent to subscribers. It is always collected. */
  readonly sendText: boolean
}

/** Job whose stream the server itself reads. Forwards reports to the job's handle and records the outcome. */
export class AIRun implements JobReporter {
  /** Aborts when the job is cancelled or the server closes. */
  readonly signal: AbortSignal
  readonly #job: AIJob
  readonly #sendText: boolean
  readonly #text: JobText
  readonly #closing = new AbortController()
  /** Stays as it is only if the job stalls: that end is reported elsewhere. */
  #end: End = { status: 'error', error: STALLED.error }

  constructor ({ job, maxTextUnits, sendText }: AIRunOptions) {
    this.#job = job
    this.#sendText = sendText
    this.#text = new JobText(maxTextUnits)
    this.signal = AbortSignal.any([job.signal, this.#closing.signal])
  }

  /** Stops the model because the server closes. Its further reports would not be sent. */
  interrupt (): void {
    this.#closing.abort(new DOMException(INTERRUPTED.error.message, 'AbortError'))
  }

  /** Reads the stream to its end. Never rejects. */
  async drain (chunks: AsyncGenerator<unknown, void>): Promise<AIOutcome> {
    let thrown: { readonly cause: unknown } | undefined
    try {
      while ((await chunks.next()).done !== true);
    } catch (cause) {
      thrown = { cause }
    }
    this.#text.append('', true)
    const { text, truncated } = this.#text.slice(0)
    return { jobId: this.#job.jobId, text, ...(truncated && { truncated }), ...thrown, ...this.#end }
  }

  keepAlive (): void {
    this.#job.keepAlive()
  }

  onceStalled (callback: () => void): void {
    this.#job.onceStalled(callback)
  }

  warn (message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#job.warn(message, fields)
  }

  progress (progress: AIProgress & { delta?: string }): unknown {
    const { delta = '', ...others } = progress
    this.#text.append(delta)
    return this.#job.progress(this.#sendText ? progress : others)
  }

  complete (result: AIResult): unknown {
    this.#end = completion(result)
    return this.#job.complete(result)
  }

  error (error: AIErrorInfo | Error): unknown {
    const described = this.#closing.signal.aborted ? describeError(INTERRUPTED.error) : describeError(error)
    this.#end = { status: described.type === 'cancelled' ? 'cancelled' : 'error', error: described }
    return this.#job.error(error)
  }
}

/** Returns the end for a result. A result that can't be sent becomes a failure, as in the notifier. */
function completion (result: AIResult): End {
  try {
    serialize({ result: checkBody('result', result) })
    return { status: 'complete', result }
  } catch (cause) {
    return { status: 'error', error: describeError(UNSENDABLE.error), cause }
  }
}
