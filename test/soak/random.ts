import { Random as Numbers } from '../../lib/testing/random.js'

/** A seeded random number generator with further methods for the soak tests. A run can be replayed from the seed that it printed. */
export class Random extends Numbers {
  /** Returns an integer from `least` to `most`, both included. */
  between (least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  bytes (length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)))
  }

  /** Returns a seed for another generator. */
  seed (): number {
    return this.below(2 ** 31)
  }
}

/** Returns a random seed. */
export function freshSeed (): number {
  return Math.floor(Math.random() * 2 ** 31)
}
