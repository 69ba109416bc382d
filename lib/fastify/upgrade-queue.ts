import { bound } from '../util/async-context.js'
import type { Clock } from '../util/clock.js'

/**
 * Lets so many through in a turn of the event loop; those who come beyond that wait for the next turns, in order. When
 * thousands come at once, one turn would otherwise take in all that have arrived, and everybody else would wait for its
 * end: messages, timers, pings.
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

  /** Goes on at once while there is room in this turn, and otherwise later in the same async context. */
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
