import type { Reconnect } from '../protocol/codes.js'

export interface BackoffOptions {
  /** The base of the delay, in milliseconds. */
  readonly reconnectInterval: number
  /** The maximum delay, in milliseconds. */
  readonly maxReconnectIntervalMs: number
}

/** The time over which clients reconnect to a restarted server, in milliseconds. */
const SOON_MS = 1000

/**
 * Returns the reconnect rule of a close code. Repeats the protocol's table of close codes to keep its texts out of the bundle.
 * A test compares the two.
 */
export function ruleOf (code: number): Reconnect {
  if (code === 1000 || (code >= 4500 && code <= 4999)) return 'never'
  if (code === 1012 || code === 4000 || code === 4002) return 'soon'
  if (code === 1013 || code === 4001) return 'later'
  return code === 1008 ? 'fresh-token' : 'backoff'
}

/**
 * Returns the delay before an attempt, in milliseconds. Attempts count from 1. The backoff is exponential with full jitter: a
 * random time between zero and the current maximum, so that clients that failed together don't reconnect together.
 */
export function delayMs (rule: Reconnect, attempt: number, random: number, options: BackoffOptions): number {
  const { reconnectInterval, maxReconnectIntervalMs: cap } = options
  if (rule === 'fresh-token') return 0
  // The server has no room, so wait for at least half of the maximum delay.
  if (rule === 'later') return cap * (1 - random / 2)
  if (rule === 'soon' && attempt <= 1) return random * SOON_MS
  return random * Math.min(cap, reconnectInterval * 2 ** (attempt - 1))
}
