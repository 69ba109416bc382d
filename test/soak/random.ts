/**
 * Seeded pseudo-random numbers (mulberry32). The same seed gives the same numbers on every machine, so that a run can be
 * replayed from the seed that it printed.
 */
export class Random {
  #state: number

  constructor (seed: number) {
    this.#state = seed >>> 0
  }

  /** A number from 0 up to, but not including, 1. */
  next (): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let x = this.#state
    x = Math.imul(x ^ (x >>> 15), x | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }

  /** An integer from 0 up to, but not including, `limit`. */
  below (limit: number): number {
    return Math.floor(this.next() * limit)
  }

  /** An integer from `least` to `most`, both included. */
  between (least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  chance (probability: number): boolean {
    return this.next() < probability
  }

  pick<T> (values: readonly T[]): T {
    if (values.length === 0) throw new Error('there is nothing to pick from')
    return values[this.below(values.length)]!
  }

  /** One of the keys, each as often as its weight says. */
  weighted<K extends string> (weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as Array<[K, number]>
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [key, weight] of entries) {
      left -= weight
      if (left < 0) return key
    }
    return entries.at(-1)![0]
  }

  bytes (length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)))
  }

  /** A seed for another generator. */
  seed (): number {
    return this.below(2 ** 31)
  }
}

/** A seed that nobody chose. */
export function freshSeed (): number {
  return Math.floor(Math.random() * 2 ** 31)
}
