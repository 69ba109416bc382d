import { present } from './expect.js'

/** Seeded pseudo-random numbers (mulberry32). The same seed gives the same numbers on every machine. */
export class Random {
  #state: number

  constructor (seed: number) {
    this.#state = seed >>> 0
  }

  /** Returns a number from 0 up to, but not including, 1. */
  next (): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let x = this.#state
    x = Math.imul(x ^ (x >>> 15), x | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }

  /** Returns an integer from 0 up to, but not including, `limit`. */
  below (limit: number): number {
    return Math.floor(this.next() * limit)
  }

  chance (probability: number): boolean {
    return this.next() < probability
  }

  /** Returns one of the values, or undefined if there is none. */
  maybePick<T> (values: readonly T[]): T | undefined {
    return values[this.below(values.length)]
  }

  /** Returns one of the values. @throws if there is none. */
  pick<T> (values: readonly T[]): T {
    return present(this.maybePick(values), 'a value to pick')
  }

  /** Returns one of the keys, each as often as its weight says. Weights are small integers. */
  weighted<K extends string> (weights: Readonly<Record<K, number>>): K {
    const keys = Object.keys(weights) as K[]
    return this.pick(keys.flatMap((key) => Array.from({ length: weights[key] }, () => key)))
  }
}
