import { shortBody, type ReportHead, type ReportPart } from '../protocol/json.js'

/** A high surrogate at the end of a string, left over when a cut splits the pair. */
const HALF_AT_END = /[\ud800-\udbff]$/

/** Maximum lengths in a short form, in UTF-16 units: of one string, and of the JSON of all fields. */
const MAX_STRING_UNITS = 256
const MAX_FIELDS_UNITS = 2_048

/** Fields that are chosen first, so that they fit in any case. */
const FIRST: Record<ReportPart, readonly string[]> = {
  task: ['mode', 'targetFile', 'prompt'],
  progress: ['chunksReceived', 'contentLength'],
  result: ['mode', 'contentLength', 'chunks', 'targetFile'],
  error: ['message', 'type', 'retryable']
}

/**
 * Returns the short form of a report, for a report that is too large to keep: its small fields and `"truncated": true`.
 * Numbers, booleans, null, dates and short strings are small. Longer strings are left out. An error's `message` and `type` are
 * shortened instead, because every error has them. Never throws.
 */
export function shortFormOf (head: ReportHead, part: ReportPart, value: object): string {
  return shortBody(head, part, smallFields(part, value))
}

type Small = string | number | boolean | null

function smallFields (part: ReportPart, value: object): object {
  const fields: Array<[name: string, value: Small]> = []
  let room = MAX_FIELDS_UNITS
  for (const name of new Set([...FIRST[part], ...namesOf(value)])) {
    const field = smallField(name, value, part === 'error' && FIRST.error.includes(name))
    if (field === undefined) continue
    const { length } = JSON.stringify({ [name]: field })
    if (length > room) continue
    room -= length
    fields.push([name, field])
  }
  // Unlike an assignment, this makes a field of the name `__proto__` too.
  return Object.fromEntries(fields)
}

/** Returns the own enumerable names, as JSON.stringify does. Returns none if a proxy throws. */
function namesOf (value: object): string[] {
  try {
    return Object.keys(value)
  } catch {
    return []
  }
}

/** Returns a field if it is small, a date as its string. Returns undefined if the app's getter, or an invalid date, throws. */
function smallField (name: string, value: object, isCut: boolean): Small | undefined {
  try {
    if (!Object.hasOwn(value, name) || name.length > MAX_STRING_UNITS) return undefined
    const field: unknown = value[name as keyof typeof value]
    const json: unknown = field instanceof Date ? field.toJSON() : field
    const short: unknown = typeof json === 'string' && isCut ? json.slice(0, MAX_STRING_UNITS).replace(HALF_AT_END, '') : json
    return isSmall(short) ? short : undefined
  } catch {
    return undefined
  }
}

function isSmall (value: unknown): value is Small {
  if (typeof value === 'string') return value.length <= MAX_STRING_UNITS
  return typeof value === 'number' || typeof value === 'boolean' || value === null
}
