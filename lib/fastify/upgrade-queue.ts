import { bound } from '../util/async-context.js'
import type { Clock } from '../util/clock.js'

/**
 * Limits the number of upgrades per turn of the event loop. Further upgrades wait for the next turns, in order. Without it,
 * thousands of simultaneous clients would all be handled in one turn, and messages, timers and pings would wait for its end.
 */
export class UpgradeQueue {
  readonly #clock: Clock
  readonly #perTurn: number
  #room: number
  #waiting: Array<() => void> = []
  #isTurning = false

  constructor (clock: Clock, perTurn: number) {
    this.#clock = clock
    this.#perTurn = this.#room = perTurn
  }

  /** Calls `goOn` at once if this turn has room, otherwise in a later turn. It always runs in the caller's async context. */
  pass (goOn: () => void): void {
    if (this.#room === 0) {
      this.#waiting.push(bound(goOn))
      return
    }
    this.#room--
    this.#turnLater()
    goOn()
  }

  #turnLater (): void {
    if (this.#isTurning) return
    this.#isTurning = true
    this.#clock.endOfTick(() => {
      this.#isTurning = false
      const due = this.#waiting.splice(0, this.#perTurn)
      this.#room = this.#perTurn - due.length
      if (due.length > 0) this.#turnLater()
      for (const goOn of due) goOn()
    })
  }
}
