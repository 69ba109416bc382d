import type { MaybePromise } from '../../../lib/util/maybe-promise.js'

/** One version of a part, with the state that it keeps between rounds. */
export interface Subject {
  /** Runs one round. Returns a number that depends on all results, which must be the same for all versions. */
  run (): MaybePromise<number>
}

/** A part of the library in two versions, and the load that compares them. */
export interface Part {
  readonly load: string
  /** What one operation is, in a word. */
  readonly unit: string
  /** Operations in a round. */
  readonly operations: number
  /** Items that are kept after a round. Memory is measured per item. */
  readonly items: number
  readonly versions: { readonly ours: () => MaybePromise<Subject>, readonly plain?: () => MaybePromise<Subject> }
}

export type Version = keyof Part['versions']

/** Adds up the results of a round. The order matters. */
export class Checksum {
  #sum = 0

  add (value: number | string): void {
    if (typeof value === 'number') this.#add(value)
    else for (let at = value.length & 7; at < value.length; at += 8) this.#add(value.charCodeAt(at))
  }

  get value (): number {
    return this.#sum
  }

  #add (value: number): void {
    this.#sum = (Math.imul(this.#sum, 31) + value) | 0
  }
}
