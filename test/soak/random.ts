import { Random as Numbers } from '../../lib/testing/random.js'

/** Seeded random numbers, with what a soak needs beside them. A run can be replayed from the seed that it printed. */
export class Random extends Numbers {
  /** An integer from `least` to `most`, both included. */
  between (least: number, most: number): number {
    return least + this.below(most - least + 1)
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
