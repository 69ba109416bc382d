import { Jobs } from './jobs.js'
import type { Answer, GapReason } from './messages.js'
import type { Pace } from './pace.js'
import { Position } from './positions.js'

/** A session that is followed, or was, or whose jobs somebody looks at. */
export class Session {
  readonly id: string
  readonly position = new Position()
  readonly jobs = new Jobs()
  /** Those who look at the jobs. */
  readonly pace: Pace
  /** Those who want it to be followed. */
  readonly holders = new Set<object>()
  /** Whether a `subscribe` is not answered yet. What comes of the stream before the answer comes again behind it. */
  asking = false
  /** Whether it was asked for on this connection, and not refused since. */
  following = false
  /** How often in a row the server could not decide. */
  retries = 0

  constructor (id: string, pace: Pace) {
    this.id = id
    this.pace = pace
  }

  /** The server's answer: the session is followed. */
  greet (answer: Answer): GapReason | undefined {
    this.asking = false
    this.retries = 0
    const gap = this.position.greet(answer)
    if (answer.recovered === true) this.jobs.resume()
    else this.jobs.expectState()
    return gap
  }
}
