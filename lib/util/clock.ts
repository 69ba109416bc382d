import { outsideRequests } from './async-context.js'

/** A timer that was set. Cancelling twice, or after it fired, does nothing. */
export interface Timer { cancel (): void }

/**
 * Time, as the server sees it. Passed in everywhere, so that a test can hold it still or let it jump. Its callbacks run in
 * no request's async context: one timer often serves many requests, and would keep the store of the first one alive.
 */
export interface Clock {
  /** Wall-clock milliseconds since 1970: for what people read. It can jump either way. */
  now (): number
  /** Milliseconds since some start that never go back: for measuring. */
  monotonic (): number
  /** Calls back once, after `ms`. Never keeps the process alive. */
  after (ms: number, callback: () => void): Timer
  /** Calls back at the end of this turn of the event loop, after the I/O that is ready has been read. */
  endOfTick (callback: () => void): void
}

/** The longest delay that Node's timers take; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms, callback) => {
    const timeout = outsideRequests(setTimeout, callback, Math.min(ms, MAX_DELAY_MS))
    timeout.unref()
    return { cancel: () => { clearTimeout(timeout) } }
  },
  endOfTick: (callback) => { outsideRequests(setImmediate, callback) }
}

/** ISO timestamps; a burst of messages in one millisecond formats it once. */
export function isoTimestamps (clock: Clock): () => string {
  let at = NaN
  let text = ''
  return () => {
    const now = clock.now()
    if (now !== at) {
      at = now
      text = new Date(now).toISOString()
    }
    return text
  }
}
