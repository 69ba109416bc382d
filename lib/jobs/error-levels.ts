import { fieldOf } from '../util/safe-error.js'

/** Maximum number of nested errors to inspect, including the outermost. */
const MAX_LEVELS = 16

/**
 * Returns an error and the errors inside it, the outermost first: `lastError` and `errors` of retrying SDKs, and each `cause`.
 * Handles cycles and getters that throw.
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

/** Returns the error of a retrying SDK's last attempt. Returns the error itself if it wraps no others. */
export function lastAttemptOf (thrown: unknown): unknown {
  let attempt = thrown
  for (let level = 0; level < MAX_LEVELS; level++) {
    const inner = fieldOf(attempt, 'lastError') ?? lastOf(fieldOf(attempt, 'errors'))
    if (typeof fieldOf(inner, 'message') !== 'string') return attempt
    attempt = inner
  }
  return thrown
}

/** Returns the last item of a value that may be an array. */
function lastOf (errors: unknown): unknown {
  const length = fieldOf(errors, 'length')
  return typeof length === 'number' ? fieldOf(errors, String(length - 1)) : undefined
}
