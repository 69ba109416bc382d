import { outsideRequests } from './async-context.js'

/** A pending timer. Cancelling it twice, or after it fired, does nothing. */
export interface Timer { cancel (): void }

/**
 * The server's source of time and timers. It is passed in everywhere, so that tests can use a fake clock. Its callbacks run
 * outside of all requests' async contexts: a timer often serves many requests, and would keep the store of the first one alive.
 */
export interface Clock {
  /** Wall-clock time in milliseconds since 1970, for display. It can jump in both directions. */
  now (): number
  /** Monotonic time in milliseconds, for measuring. */
  monotonic (): number
  /** Calls back once after `ms`. Does not keep the process alive. */
  after (ms: number, callback: () => void): Timer
  /** Calls back at the end of this turn of the event loop, after all ready I/O was read. */
  endOfTick (callback: () => void): void
}

/** The longest delay that Node's timers support. A longer one would fire at once. */
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

/** Returns a function that returns the time as an ISO timestamp. It formats each millisecond once (benchmark row `timestamp`). */
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
