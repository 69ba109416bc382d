/** An invariant that did not hold. Its message holds everything that is needed to replay the run. */
export class SoakFailure extends Error {
  override readonly name = 'SoakFailure'
}

/** Steps that a failure prints: the latest ones, because a long schedule hides what matters. */
const MAX_STEPS_SHOWN = 60

/**
 * The record of one run: what was done, and the first invariant that broke. Everything that finds a fault reports it here.
 * `failed` rejects then, so that the run ends at once, wherever it waits.
 */
export class Journal {
  readonly failed: Promise<never>
  readonly #replay: string
  readonly #steps: string[] = []
  readonly #startedAt = performance.now()
  #reject: (error: SoakFailure) => void = () => { /* replaced below */ }
  #failure: SoakFailure | undefined

  /** `replay` says how to run the same again. */
  constructor (replay: string) {
    this.#replay = replay
    this.failed = new Promise<never>((_resolve, reject) => { this.#reject = reject })
    this.failed.catch(() => { /* for those who wait for it */ })
  }

  get failure (): SoakFailure | undefined {
    return this.#failure
  }

  note (step: string): void {
    this.#steps.push(`${(performance.now() - this.#startedAt).toFixed(0).padStart(7)} ms  ${step}`)
  }

  /** Only the first one counts: what follows may be its consequence. */
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

  /** Runs a check that throws where its invariant does not hold. */
  check (invariant: string, work: () => void): void {
    try {
      work()
    } catch (error) {
      this.fail(invariant, error instanceof Error ? error.message : String(error))
    }
  }

  /** Waits for a condition that nobody announces. The time limit is far above what a busy machine needs. */
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
