import type { AIFinishReason } from '../../protocol/codes.js'
import type { AIErrorInfo, AIResult } from '../../protocol/messages.js'
import { reportable } from '../ai-error.js'

/** What each of a provider's finish reasons means. `error`, `incomplete` and `cancelled` make the job fail. */
export type FinishReasons = Readonly<Record<string, AIFinishReason | 'error' | 'incomplete' | 'cancelled'>>

/** Token counts as a provider reports them. What is not a number is left out. */
export interface ReportedUsage {
  readonly input?: unknown
  readonly output?: unknown
  readonly total?: unknown
}

type Usage = NonNullable<AIResult['usage']>

/** What a stream has reported beside its text: a failure, why it finished, and what it cost. */
export class StreamReport {
  #failure: AIErrorInfo | Error | undefined
  #reason: AIFinishReason | undefined
  #rawReason: string | undefined
  #usage: Usage | undefined
  /** The usage of the model's calls before this one. */
  #earlier: Usage | undefined
  #isRefusal = false
  #isComplete = false

  /** What makes the job fail. Undefined while nothing does. */
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

  /** The stream reported a failure, as an `Error`, an error body, or a sentence. The first one counts. Never throws. */
  fail (error: unknown): void {
    this.#failure ??= reportable(error)
  }

  /** The stream reported that it was stopped. */
  cancel (): void {
    this.fail({ message: 'cancelled', type: 'cancelled' })
  }

  /** The stream was cut off before the model was done. */
  interrupt (): void {
    this.fail({ message: 'the stream ended before the model was done', type: 'incomplete' })
  }

  /**
   * The model finished, for a reason in the provider's own words. The last one counts. `error`: what the stream says of
   * the failure, where the reason is one. `rawReason`: the provider's own word, where an SDK gives its own as well.
   * Anything but a non-empty string says nothing.
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

  /** The model refuses: its text is the refusal, also where the provider finishes it like any other text. */
  refuse (): void {
    this.#isRefusal = true
  }

  /**
   * A message begins. Until it is complete the stream is not, even if another one was. In a stream of several, the usage of
   * this one is added to that of those before, and why they finished does not count.
   */
  begin (): void {
    this.#earlier = sumOf(this.#earlier, this.#usage)
    this.#usage = this.#reason = this.#rawReason = undefined
    this.#isRefusal = this.#isComplete = false
  }

  /** Whether the stream may end here: the protocol's last event came, or, with `false`, something must follow. */
  complete (isComplete = true): void {
    this.#isComplete = isComplete
  }

  /** Notes token counts that replace those noted before. */
  setUsage ({ input, output, total }: ReportedUsage): void {
    const told = {
      ...(isCount(input) && { inputTokens: input }), ...(isCount(output) && { outputTokens: output }), ...(isCount(total) && { totalTokens: total })
    }
    if (Object.keys(told).length > 0) this.#usage = { ...this.#usage, ...told }
  }

  /** Notes token counts that are added to those noted before. */
  addUsage (usage: ReportedUsage): void {
    const before = this.#usage
    this.#usage = undefined
    this.setUsage(usage)
    this.#usage = sumOf(before, this.#usage)
  }

  /** The stream ended without an error of its own. */
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
