import type { Stub } from '../streams/broker.js'

/** Half of a surrogate pair whose other half was cut off. */
const HALF_AT_END = /[\ud800-\udbff]$/

/** UTF-16 units of a string that a stub keeps, and of all its fields as JSON. */
const MAX_STRING_UNITS = 256
const MAX_FIELDS_UNITS = 2_048

/** The object of a report, by the name of its field. */
type Part = 'task' | 'progress' | 'result' | 'error'

/** Fields that come before others. */
const FIRST: Record<Part, readonly string[]> = {
  task: ['mode', 'targetFile', 'prompt'],
  progress: ['chunksReceived', 'contentLength'],
  result: ['mode', 'contentLength', 'chunks', 'targetFile'],
  error: ['message', 'type', 'retryable']
}

/**
 * Makes the short form of a report on a job, for when the whole is too large to be kept: its small fields, and
 * `"truncated": true`. Small are numbers, booleans, null, dates and short strings. Strings that are longer are left out, but
 * for an error's `message` and `type`: those are cut, because every error has them. Never throws.
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
    const text = written(name, value, part === 'error' && FIRST.error.includes(name))
    if (text === undefined || text.length > room) continue
    room -= text.length
    fields.push(text)
  }
  return fields.join(',')
}

/** Own and enumerable, as JSON has them. A proxy may throw. */
function namesOf (value: object): string[] {
  try {
    return Object.keys(value)
  } catch {
    return []
  }
}

/** A field as JSON, if it is small. A getter of the app's own, and a date that is none, may throw. */
function written (name: string, value: object, isCut: boolean): string | undefined {
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
