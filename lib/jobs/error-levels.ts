import { fieldOf } from '../util/safe-error.js'

/** How many errors are looked at, the outermost included. */
const MAX_LEVELS = 16

/**
 * An error and those inside it, the outermost first: what retrying SDKs keep as `lastError` and `errors`, and each `cause`.
 * Survives cycles, and getters that throw.
 */
export function levelsOf (thrown: unknown): readonly unknown[] {
  const levels = new Set<unknown>([thrown])
  for (const level of levels) {
    for (const inner of [fieldOf(level, 'lastError'), fieldOf(level, 'cause'), lastOf(fieldOf(level, 'errors'))]) {
      if (typeof inner === 'object' && levels.size < MAX_LEVELS) levels.add(inner)
    }
  }
  return [...levels]
}

/** The error that a retrying SDK met last, as its wrapper keeps it. Of an error that wraps no others, the error itself. */
export function lastAttemptOf (thrown: unknown): unknown {
  let attempt = thrown
  for (let level = 0; level < MAX_LEVELS; level++) {
    const inner = fieldOf(attempt, 'lastError') ?? lastOf(fieldOf(attempt, 'errors'))
    if (typeof fieldOf(inner, 'message') !== 'string') return attempt
    attempt = inner
  }
  return thrown
}

/** `errors.at(-1)`, of anything. */
function lastOf (errors: unknown): unknown {
  const length = fieldOf(errors, 'length')
  return typeof length === 'number' ? fieldOf(errors, String(length - 1)) : undefined
}
