import type { Stub } from '../streams/broker.js'

/** A high surrogate at the end of a string, left over when a cut splits the pair. */
const HALF_AT_END = /[\ud800-\udbff]$/

/** Maximum lengths in a stub, in UTF-16 units: of one string, and of the JSON of all fields. */
const MAX_STRING_UNITS = 256
const MAX_FIELDS_UNITS = 2_048

/** Name of the field that holds a report's object. */
type Part = 'task' | 'progress' | 'result' | 'error'

/** Fields that are written first, so that they fit in any case. */
const FIRST: Record<Part, readonly string[]> = {
  task: ['mode', 'targetFile', 'prompt'],
  progress: ['chunksReceived', 'contentLength'],
  result: ['mode', 'contentLength', 'chunks', 'targetFile'],
  error: ['message', 'type', 'retryable']
}

/**
 * Returns the short form of a report on a job, for a report that is too large to keep: its small fields and
 * `"truncated": true`. Numbers, booleans, null, dates and short strings are small. Longer strings are left out. An error's
 * `message` and `type` are shortened instead, because every error has them. Never throws.
 */
export function stubOf (report: { type: string, sessionId: string, timestamp: string }, part: Part, value: object): Stub {
  const { type, sessionId, timestamp } = report
  const head = `{"type":${JSON.stringify(type)},"sessionId":${JSON.stringify(sessionId)},"${part}":{${smallFields(part, value)}`
  return {
    body: `${head}},"timestamp":${JSON.stringify(timestamp)},"truncated":true}`,
    ...(part === 'progress' && { textAt: head.length })
  }
}

function smallFields (part: Part, value: object): string {
  const fields: string[] = []
  let room = MAX_FIELDS_UNITS
  for (const name of new Set([...FIRST[part], ...namesOf(value)])) {
    const text = serializeField(name, value, part === 'error' && FIRST.error.includes(name))
    if (text === undefined || text.length > room) continue
    room -= text.length
    fields.push(text)
  }
  return fields.join(',')
}

/** Returns the own enumerable names, as JSON.stringify does. Returns none if a proxy throws. */
function namesOf (value: object): string[] {
  try {
    return Object.keys(value)
  } catch {
    return []
  }
}

/** Returns a field as JSON if it is small. Returns undefined if the app's getter, or an invalid date, throws. */
function serializeField (name: string, value: object, isCut: boolean): string | undefined {
  try {
    if (!Object.hasOwn(value, name) || name.length > MAX_STRING_UNITS) return undefined
    const field: unknown = value[name as keyof typeof value]
    const text = typeof field === 'string' && isCut ? field.slice(0, MAX_STRING_UNITS).replace(HALF_AT_END, '') : field
    return isSmall(text) ? `${JSON.stringify(name)}:${JSON.stringify(text)}` : undefined
  } catch {
    return undefined
  }
}

function isSmall (value: unknown): boolean {
  if (typeof value === 'string') return value.length <= MAX_STRING_UNITS
  return typeof value === 'number' || typeof value === 'boolean' || value === null || value instanceof Date
}
