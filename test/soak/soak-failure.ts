/** The error for an invariant that did not hold. Its message contains everything that is needed to replay the run. */
export class SoakFailure extends Error {
  override readonly name = 'SoakFailure'
}

/** Maximum number of steps that a failure prints. These are the latest ones, because a long schedule hides the relevant steps. */
const MAX_STEPS_SHOWN = 60

/**
 * The record of one run: its steps, and the first invariant that broke. All checks report their failures here. `failed` rejects on
 * the first failure, so that the run ends at once, wherever it waits.
 */
export class Journal {
  readonly failed: Promise<never>
  readonly #replay: string
  readonly #steps: string[] = []
  readonly #startedAt = performance.now()
  #reject: (error: SoakFailure) => void = () => { /* replaced below */ }
  #failure: SoakFailure | undefined

  /** `replay` is the command that repeats the run. */
  constructor (replay: string) {
    this.#replay = replay
    this.failed = new Promise<never>((_resolve, reject) => { this.#reject = reject })
    this.failed.catch(() => { /* not an unhandled rejection if nothing waits for it */ })
  }

  get failure (): SoakFailure | undefined {
    return this.#failure
  }

  note (step: string): void {
    this.#steps.push(`${(performance.now() - this.#startedAt).toFixed(0).padStart(7)} ms  ${step}`)
  }

  /** Records a failure. Only the first one counts, because later ones may be its consequences. */
  fail (invariant: string, detail = ''): void {
    if (this.#failure !== undefined) return
    const hidden = this.#steps.length - MAX_STEPS_SHOWN
    this.#failure = new SoakFailure([
      `broken invariant: ${invariant}`, ...detail === '' ? [] : [detail],
      `replay: ${this.#replay}`,
      `schedule until then${hidden > 0 ? ` (${hidden} earlier steps left out)` : ''}:`,
      ...this.#steps.slice(-MAX_STEPS_SHOWN)
    ].join('\n'))
    this.#reject(this.#failure)
  }

  /** Runs a check, which throws if its invariant does not hold. */
  check (invariant: string, work: () => void): void {
    try {
      work()
    } catch (error) {
      this.fail(invariant, error instanceof Error ? error.message : String(error))
    }
  }

  /** Waits for a condition by polling it. The timeout should be far above what a busy machine needs. */
  async until (invariant: string, condition: () => boolean | Promise<boolean>, ms: number, detail: () => string = () => ''): Promise<void> {
    const deadline = performance.now() + ms
    while (!await condition()) {
      if (this.#failure !== undefined) throw this.#failure
      if (performance.now() > deadline) this.fail(`${invariant} (waited ${ms} ms)`, detail())
      await new Promise((resolve) => { setTimeout(resolve, 20) })
    }
    if (this.#failure !== undefined) throw this.#failure
  }
}
