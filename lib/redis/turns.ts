/** Runs calls in their order, and a limited number of them at the same time. */
export class Turns {
  readonly #most: number
  readonly #waiting: Array<() => void> = []
  #running = 0

  constructor (most: number) {
    this.#most = most
  }

  async run<T> (call: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#most) await new Promise<void>((resolve) => { this.#waiting.push(resolve) })
    else this.#running++
    try {
      return await call()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }
}
