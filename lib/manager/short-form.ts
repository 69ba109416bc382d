import { jsonField, shortBody, type ReportHead, type ReportPart } from '../protocol/json.js'

/** A high surrogate at the end of a string, left over when a cut splits the pair. */
const HALF_AT_END = /[\ud800-\udbff]$/

/** Maximum lengths in a short form, in UTF-16 units: of one string, and of the JSON of all fields. */
const MAX_STRING_UNITS = 256
const MAX_FIELDS_UNITS = 2_048

/** Fields that are written first, so that they fit in any case. */
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

function smallFields (part: ReportPart, value: object): string[] {
  const fields: string[] = []
  let room = MAX_FIELDS_UNITS
  for (const name of new Set([...FIRST[part], ...namesOf(value)])) {
    const field = smallField(name, value, part === 'error' && FIRST.error.includes(name))
    if (field === undefined || field.length > room) continue
    room -= field.length
    fields.push(field)
  }
  return fields
}

/** Returns the own enumerable names, as JSON.stringify does. Returns none if a proxy throws. */
function namesOf (value: object): string[] {
  try {
    return Object.keys(value)
  } catch {
    return []
  }
}

/** Returns the JSON of a field if it is small. Returns undefined if the app's getter, or an invalid date, throws. */
function smallField (name: string, value: object, isCut: boolean): string | undefined {
  try {
    if (!Object.hasOwn(value, name) || name.length > MAX_STRING_UNITS) return undefined
    const field: unknown = value[name as keyof typeof value]
    const short: unknown = typeof field === 'string' && isCut ? field.slice(0, MAX_STRING_UNITS).replace(HALF_AT_END, '') : field
    return isSmall(short) ? jsonField(name, short) : undefined
  } catch {
    return undefined
  }
}

function isSmall (value: unknown): value is string | number | boolean | Date | null {
  if (typeof value === 'string') return value.length <= MAX_STRING_UNITS
  return typeof value === 'number' || typeof value === 'boolean' || value === null || value instanceof Date
}
