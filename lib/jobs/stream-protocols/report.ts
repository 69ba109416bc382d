import type { AIFinishReason } from '../../protocol/codes.js'
import type { AIErrorInfo, AIResult } from '../../protocol/messages.js'
import { reportable } from '../ai-error.js'

/** Maps a provider's finish reasons to the protocol's. `error`, `incomplete` and `cancelled` make the job fail. */
export type FinishReasons = Readonly<Record<string, AIFinishReason | 'error' | 'incomplete' | 'cancelled'>>

/** Token counts as a provider reports them. Values other than numbers are ignored. */
export interface ReportedUsage {
  readonly input?: unknown
  readonly output?: unknown
  readonly total?: unknown
}

type Usage = NonNullable<AIResult['usage']>

/** Collects what a stream reports besides its text: a failure, the finish reason, and the usage. */
export class StreamReport {
  #failure: AIErrorInfo | Error | undefined
  #reason: AIFinishReason | undefined
  #rawReason: string | undefined
  #usage: Usage | undefined
  /** Usage of the model's earlier calls. */
  #earlier: Usage | undefined
  #isRefusal = false
  #isComplete = false

  /** The failure that makes the job fail, if there is one. */
  get failure (): AIErrorInfo | Error | undefined {
    return this.#failure
  }

  /** The fields of the job's result. */
  get result (): Pick<AIResult, 'finishReason' | 'rawFinishReason' | 'usage'> {
    const usage = sumOf(this.#earlier, this.#usage)
    const reason = this.#isRefusal && (this.#reason === undefined || this.#reason === 'stop') ? 'refusal' : this.#reason
    return {
      ...(reason !== undefined && { finishReason: reason }),
      ...(this.#rawReason !== undefined && { rawFinishReason: this.#rawReason }),
      ...(usage !== undefined && { usage })
    }
  }

  /**
   * Records a failure that the stream reported: an `Error`, an error body, or a sentence. The first one counts. Never throws.
   */
  fail (error: unknown): void {
    this.#failure ??= reportable(error)
  }

  /** Records that the stream was cancelled. */
  cancel (): void {
    this.fail({ message: 'cancelled', type: 'cancelled' })
  }

  /** Records that the stream ended before the model was done. */
  interrupt (): void {
    this.fail({ message: 'the stream ended before the model was done', type: 'incomplete' })
  }

  /**
   * Records the finish reason, `word`. The last one counts. `error` describes the failure, if the reason is one. `rawReason` is
   * the provider's own reason, if an SDK has translated it. Ignores anything but a non-empty string.
   */
  finish (word: unknown, reasons: FinishReasons, error?: unknown, rawReason: unknown = word): void {
    if (typeof word !== 'string' || word === '') return
    const reason = Object.hasOwn(reasons, word) ? reasons[word] : undefined
    if (reason === 'cancelled') {
      this.cancel()
    } else if (reason === 'incomplete') {
      this.interrupt()
    } else if (reason === 'error') {
      this.fail(error ?? { message: `the model's provider ended the stream with "${word}"`, type: 'api_error' })
    } else {
      this.#reason = reason ?? 'unknown'
      this.#rawReason = typeof rawReason === 'string' ? rawReason : word
    }
  }

  /** Records that the model refuses. Its text is the refusal, even if the provider reports a normal finish reason. */
  refuse (): void {
    this.#isRefusal = true
  }

  /**
   * Records the start of a message. The stream is incomplete until this message is complete. In a stream of several messages,
   * their usage is summed, and only the finish reason of the last one counts.
   */
  begin (): void {
    this.#earlier = sumOf(this.#earlier, this.#usage)
    this.#usage = this.#reason = this.#rawReason = undefined
    this.#isRefusal = this.#isComplete = false
  }

  /** Records whether the stream may end here: true after the protocol's last event, false if more must follow. */
  complete (isComplete = true): void {
    this.#isComplete = isComplete
  }

  /** Records token counts that replace earlier ones. */
  setUsage ({ input, output, total }: ReportedUsage): void {
    const counts = {
      ...(isCount(input) && { inputTokens: input }), ...(isCount(output) && { outputTokens: output }), ...(isCount(total) && { totalTokens: total })
    }
    if (Object.keys(counts).length > 0) this.#usage = { ...this.#usage, ...counts }
  }

  /** Records token counts that are added to earlier ones. */
  addUsage (usage: ReportedUsage): void {
    const before = this.#usage
    this.#usage = undefined
    this.setUsage(usage)
    this.#usage = sumOf(before, this.#usage)
  }

  /** Records the end of the stream. */
  end ({ missingEnd }: { readonly missingEnd: 'incomplete' | 'unknown' }): void {
    if (missingEnd === 'incomplete' && !this.#isComplete) this.interrupt()
    this.#reason ??= this.#isRefusal ? 'refusal' : 'unknown'
  }
}

function sumOf (a: Usage | undefined, b: Usage | undefined): Usage | undefined {
  if (a === undefined || b === undefined) return a ?? b
  const sum = { ...a }
  for (const name of ['inputTokens', 'outputTokens', 'totalTokens'] as const) {
    const count = b[name]
    if (count !== undefined) sum[name] = (a[name] ?? 0) + count
  }
  return sum
}

function isCount (value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}
