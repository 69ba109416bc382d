import { errors } from './errors.js'
import { messageOf } from './safe-error.js'

/** The JSON text of a message, or an error that says what can't be written. */
export function serialize (message: object): string {
  const text: unknown = read(() => JSON.stringify(message))
  // A toJSON of what a toJSON answered may answer anything, or nothing.
  if (typeof text !== 'string' || !text.startsWith('{')) throw new errors.NotSerializable('its toJSON answers no object')
  return text
}

/** What is given to a notification beside its session: an object, so that its fields can be read by name. */
export function checkBody (name: string, value: unknown): object {
  const body = read(() => asJson(value))
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new errors.InvalidMessage(`${name} must be an object`)
  }
  return body
}

/** Calls `toJSON` before the checks, so that what is checked is what is sent; and once, as `JSON.stringify` does. */
export function asJson (value: unknown): unknown {
  if (!hasToJson(value)) return value
  const json: unknown = value.toJSON('')
  return hasToJson(json) ? { ...json, toJSON: undefined } : json
}

function hasToJson (value: unknown): value is { toJSON: (key: string) => unknown } {
  return typeof value === 'object' && value !== null && typeof (value as { toJSON?: unknown }).toJSON === 'function'
}

/** What throws meanwhile is a getter or a toJSON of the app's own. */
export function read<T> (work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new errors.NotSerializable(messageOf(error).split('\n', 1)[0])
  }
}
