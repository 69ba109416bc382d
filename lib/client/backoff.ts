import type { Reconnect } from '../protocol/codes.js'

export interface BackoffOptions {
  /** The base, in milliseconds. */
  readonly reconnectInterval: number
  /** The cap, in milliseconds. */
  readonly maxReconnectIntervalMs: number
}

/** Within this time the clients of a server that restarts come back, in milliseconds. */
const SOON_MS = 1000

/**
 * What the close codes' table says, in the client's own words, so that the table's texts stay out of the bundle. A test
 * holds the two against each other, row by row.
 */
export function ruleOf (code: number): Reconnect {
  if (code === 1000 || (code >= 4500 && code <= 4999)) return 'never'
  if (code === 1012 || code === 4000 || code === 4002) return 'soon'
  if (code === 1013 || code === 4001) return 'later'
  return code === 1008 ? 'fresh-token' : 'backoff'
}

/**
 * How long to wait before the `attempt`th try, counted from 1, in milliseconds. Exponential with full jitter: a random
 * time between nothing and the doubled base, so that clients that failed together do not come back together.
 */
export function delayMs (rule: Reconnect, attempt: number, random: number, options: BackoffOptions): number {
  const { reconnectInterval, maxReconnectIntervalMs: cap } = options
  if (rule === 'fresh-token') return 0
  // A server without room asked for time, so at least half of it is given.
  if (rule === 'later') return cap * (1 - random / 2)
  if (rule === 'soon' && attempt <= 1) return random * SOON_MS
  return random * Math.min(cap, reconnectInterval * 2 ** (attempt - 1))
}
