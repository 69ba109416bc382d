import { errors } from '../errors.js'
import { describeError } from '../jobs/ai-error.js'
import { isId } from '../protocol/ids.js'
import { reservedTypes, type AIErrorInfo } from '../protocol/messages.js'
import { isError, messageOf } from '../safe-error.js'

/** A message of the app's own: a `type` and whatever else goes through `JSON.stringify`. */
export interface AppMessage {
  type: string
  [field: string]: unknown
}

/** Fields that the server writes into every message, or behind it. */
const SERVER_FIELDS = ['seq', 'userSeq', 'epoch', 'replayed'] as const

/** The JSON text of a message, or an error that says what can't be written. */
export function serialize (message: object): string {
  const text: unknown = read(() => JSON.stringify(message))
  // A toJSON of what a toJSON answered may answer anything, or nothing.
  if (typeof text !== 'string' || !text.startsWith('{')) throw new errors.NotSerializable('its toJSON answers no object')
  return text
}

export function checkId (name: 'sessionId' | 'userId' | 'jobId', value: unknown): string {
  if (!isId(value)) throw new errors.InvalidId(name)
  return value
}

/** What is given to a notification beside its session: an object, so that its fields can be read by name. */
export function checkBody (name: string, value: unknown): object {
  const body = read(() => asJson(value))
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new errors.InvalidMessage(`${name} must be an object`)
  }
  return body
}

/** The same as a copy, because JSON holds no inherited fields: one among those would pass a check and never be sent. */
function fieldsOf (name: string, value: unknown): object {
  const body = checkBody(name, value)
  return read(() => ({ ...body }))
}

/**
 * A progress, and apart from it the text that it brings: that goes out beside what the broker counts of it. Copied only if
 * there is any; a progress is said more often than anything else.
 */
export function readProgress (value: unknown): { progress: object, delta?: string | undefined, chunksReceived: unknown } {
  const body: { chunksReceived?: unknown } = checkBody('progress', value)
  return read(() => {
    const { chunksReceived } = body
    if (!('delta' in body || 'offset' in body)) return { progress: body, chunksReceived }
    const { delta, offset, ...progress }: { delta?: unknown, offset?: unknown } = { ...body }
    return { progress, delta: typeof delta === 'string' ? delta : undefined, chunksReceived }
  })
}

/** What is told of a failure. An `Error`'s toJSON is not asked: some tell the request, its credentials included. */
export function readError (error: unknown): AIErrorInfo {
  return read(() => describeError(isError(error) ? error : asJson(error)))
}

/** Calls `toJSON` before the checks, so that what is checked is what is sent; and once, as `JSON.stringify` does. */
function asJson (value: unknown): unknown {
  if (!hasToJson(value)) return value
  const json: unknown = value.toJSON('')
  return hasToJson(json) ? { ...json, toJSON: undefined } : json
}

function hasToJson (value: unknown): value is { toJSON: (key: string) => unknown } {
  return typeof value === 'object' && value !== null && typeof (value as { toJSON?: unknown }).toJSON === 'function'
}

/** A number of a report's body, such as a result's `chunks`. Undefined for anything else. */
export function readCount (body: object, name: 'chunks'): number | undefined {
  const value: unknown = read(() => (body as Record<string, unknown>)[name])
  return typeof value === 'number' ? value : undefined
}

/**
 * An option of a call. The options may be null, as JavaScript users write it.
 *
 * @throws `AICW_ERR_INVALID_OPTION` where its getter throws
 */
export function readOption<T extends object, K extends keyof T & string> (options: T | null | undefined, name: K): T[K] | undefined {
  try {
    return options?.[name]
  } catch (error) {
    throw new errors.InvalidOption(name, `can't be read: ${messageOf(error)}`)
  }
}

/** What throws meanwhile is a getter or a toJSON of the app's own. */
function read<T> (work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new errors.NotSerializable(messageOf(error).split('\n', 1)[0])
  }
}

/** An app's own message as it goes out. The time is the server's; a session's message also says whose it is. */
export function serializeAppMessage (message: unknown, timestamp: string, sessionId?: string): string {
  const fields: Partial<AppMessage> = fieldsOf('message', message)
  const { type } = fields
  if (typeof type !== 'string' || type === '') {
    throw new errors.InvalidMessage('a message needs a string "type", such as { type: "notification", … }')
  }
  if (reservedTypes.has(type)) {
    throw new errors.InvalidMessage(`the type "${type}" is the server's own: use notifyAI… for a job, or a type of your own`)
  }
  const taken = SERVER_FIELDS.find((field) => field in fields)
  if (taken !== undefined) throw new errors.InvalidMessage(`the field "${taken}" is written by the server: give yours another name`)
  if (sessionId !== undefined && ![undefined, sessionId].includes(fields.sessionId as string | undefined)) {
    throw new errors.InvalidMessage('the message\'s own "sessionId" is another one than the session it goes to: leave it out')
  }
  return serialize({ ...fields, ...(sessionId !== undefined && { sessionId }), timestamp })
}
