import { errors } from './errors.js'
import { messageOf } from './safe-error.js'

/** Returns the JSON text of a message. @throws `AICW_ERR_NOT_SERIALIZABLE` with the reason, if there is none. */
export function serialize (message: object): string {
  const text: unknown = readAppValue(() => JSON.stringify(message))
  // A nested `toJSON` may return anything, including undefined.
  if (typeof text !== 'string' || !text.startsWith('{')) throw new errors.NotSerializable('its toJSON does not return an object')
  return text
}

/** Returns the argument of a notification as JSON data. @throws `AICW_ERR_INVALID_MESSAGE` if it is not an object. */
export function checkBody (name: string, value: unknown): object {
  const body = readAppValue(() => asJson(value))
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new errors.InvalidMessage(`${name} must be an object`)
  }
  return body
}

/** Calls `toJSON` once, as `JSON.stringify` does. Called before validation, so that the validated value is the one sent. */
export function asJson (value: unknown): unknown {
  if (!hasToJson(value)) return value
  const json: unknown = value.toJSON('')
  return hasToJson(json) ? { ...json, toJSON: undefined } : json
}

function hasToJson (value: unknown): value is { toJSON: (key: string) => unknown } {
  return typeof value === 'object' && value !== null && typeof (value as { toJSON?: unknown }).toJSON === 'function'
}

/** Runs code that reads an app's value. Errors from its getters and `toJSON` become `AICW_ERR_NOT_SERIALIZABLE`. */
export function readAppValue<T> (work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new errors.NotSerializable(messageOf(error).split('\n', 1)[0])
  }
}
