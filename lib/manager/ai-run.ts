import { describeError } from '../jobs/ai-error.js'
import { JobText } from '../streams/job-text.js'
import type { JobReporter } from '../jobs/track.js'
import type { AIErrorInfo, AIProgress, AIResult } from '../protocol/messages.js'
import type { AIJob } from './ai-job.js'
import { checkBody, serialize } from '../util/app-values.js'
import { INTERRUPTED, STALLED, UNSENDABLE } from './notifier.js'

interface Ended {
  /** The job's id: the one that was given, or the server's. */
  jobId: string
  /**
   * The job's text, as far as it was streamed: what `contentLength` counts. It is read as the option `text` says, and also
   * without that option, whether it is sent or not. At most the newest `jobs.maxTextUnits` UTF-16 units of it.
   */
  text: string
  /** True where the beginning of `text` is missing, because the text is longer than `jobs.maxTextUnits`. Absent otherwise. */
  truncated?: true
}

/** A job that ended well. */
export interface AICompletion extends Ended {
  status: 'complete'
  /** What the subscribers were sent in `ai_complete`. */
  result: AIResult
}

/** A job that failed, or that was stopped. */
export interface AIFailure extends Ended {
  /** `cancelled`: by a client, by `wsManager.cancelAI`, or by the option `signal`. `error`: everything else. */
  status: 'error' | 'cancelled'
  /** What the subscribers were sent in `ai_error`. Of type `cancelled` exactly where `status` is. */
  error: AIErrorInfo
  /** What was thrown, for the app's log; for a cancel, the signal's reason. Absent where the stream told of its failure in a chunk. */
  cause?: unknown
}

/** How a job of `wsManager.runAI` ended. `status` tells which fields there are. */
export type AIOutcome = AICompletion | AIFailure

type End =
  | { readonly status: 'complete', readonly result: AIResult }
  | { readonly status: 'error' | 'cancelled', readonly error: AIErrorInfo, readonly cause?: unknown }

export interface AIRunOptions {
  readonly job: AIJob
  readonly maxTextUnits: number
  /** Whether the text is sent to the subscribers. It is collected in any case. */
  readonly sendText: boolean
}

/** A job whose stream nobody but the server reads. It reports to the job's handle, and notes how the job ended. */
export class AIRun implements JobReporter {
  /** Fires for a cancel, and when the server closes. */
  readonly signal: AbortSignal
  readonly #job: AIJob
  readonly #sendText: boolean
  readonly #text: JobText
  readonly #closing = new AbortController()
  /** The end that is not reported here is a stall. */
  #end: End = { status: 'error', error: STALLED.error }

  constructor ({ job, maxTextUnits, sendText }: AIRunOptions) {
    this.#job = job
    this.#sendText = sendText
    this.#text = new JobText(maxTextUnits)
    this.signal = AbortSignal.any([job.signal, this.#closing.signal])
  }

  /** The server closes: nothing more is sent, and nobody would hear of the rest. */
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
    const told = this.#closing.signal.aborted ? describeError(INTERRUPTED.error) : describeError(error)
    this.#end = { status: told.type === 'cancelled' ? 'cancelled' : 'error', error: told }
    return this.#job.error(error)
  }
}

/** A result that can't be sent makes a failure of the job, as the notifier does. */
function completion (result: AIResult): End {
  try {
    serialize({ result: checkBody('result', result) })
    return { status: 'complete', result }
  } catch (cause) {
    return { status: 'error', error: describeError(UNSENDABLE.error), cause }
  }
}
