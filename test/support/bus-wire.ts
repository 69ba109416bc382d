import { Random } from '../soak/random.js'

/** The longest delay of a message, in turns of the event loop. */
const MAX_TURNS = 4

/**
 * Runs tasks after random numbers of turns of the event loop. The delays need no clock, so they pass in tests with a fake clock
 * as well. The same seed gives the same delays.
 */
export class Turns {
  readonly random: Random
  readonly #tasks = new Map<number, Array<() => void>>()
  #now = 0
  #isScheduled = false

  constructor (seed: number) {
    this.random = new Random(seed)
  }

  /**
   * Runs a task later.
   *
   * @param earliest The task does not run before this turn.
   * @returns the turn in which it runs.
   */
  later (task: () => void, earliest = 0): number {
    const turn = Math.max(earliest, this.#now + this.random.between(1, MAX_TURNS))
    const tasks = this.#tasks.get(turn)
    if (tasks === undefined) this.#tasks.set(turn, [task])
    else tasks.push(task)
    this.#schedule()
    return turn
  }

  #schedule (): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      const tasks = this.#tasks.get(++this.#now) ?? []
      this.#tasks.delete(this.#now)
      if (this.#tasks.size > 0) this.#schedule()
      for (const task of tasks) task()
    })
  }
}

/** A message on a wire. Only a *notice* is sent again if the connection breaks before it arrives. */
interface Parcel {
  readonly isNotice: boolean
  readonly open: () => void
}

/** One direction of a node's connection to the store. Its messages arrive in the order in which they were sent. */
export class Wire {
  readonly #turns: Turns
  #parcels = new Set<Parcel>()
  #latest = 0
  /** Parcels that have arrived while the node is suspended. */
  #waiting: Parcel[] | undefined

  constructor (turns: Turns) {
    this.#turns = turns
  }

  /** Opens no parcels until `resume` is called. */
  stall (): void {
    this.#waiting ??= []
  }

  resume (): void {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const parcel of waiting) this.#arrive(parcel)
  }

  send (open: () => void, isNotice = false): void {
    const parcel = { isNotice, open }
    this.#parcels.add(parcel)
    this.#latest = this.#turns.later(() => { this.#arrive(parcel) }, this.#latest)
  }

  /** Loses all messages that have not arrived. Returns the notices among them. */
  cut (): Array<() => void> {
    const notices = [...this.#parcels].filter(({ isNotice }) => isNotice).map(({ open }) => open)
    this.#parcels.clear()
    return notices
  }

  #arrive (parcel: Parcel): void {
    if (this.#waiting !== undefined) this.#waiting.push(parcel)
    else if (this.#parcels.delete(parcel)) parcel.open()
  }
}
