import { describeError } from '../jobs/ai-error.js'
import { isId } from '../protocol/ids.js'
import type { AIErrorInfo } from '../protocol/messages.js'
import { asJson, checkBody, readAppValue } from '../util/app-values.js'
import { errors } from '../util/errors.js'
import { isError, messageOf } from '../util/safe-error.js'

/** Returns the id. @throws `AICW_ERR_INVALID_ID` for an invalid one. */
export function checkId (name: 'sessionId' | 'userId' | 'jobId', value: unknown): string {
  if (!isId(value)) throw new errors.InvalidId(name)
  return value
}

/** Returns the close code of a disconnect. @throws `AICW_ERR_INVALID_OPTION` if a server may not send it. */
export function checkCloseCode (code: unknown): number {
  if (Number.isInteger(code) && ([1000, 1001, 1008, 1011, 1012, 1013].includes(code as number) || (code as number >= 3000 && code as number <= 4999))) return code as number
  throw new errors.InvalidOption('code', 'must be 1000, 1001, 1008, 1011, 1012, 1013 or an integer from 3000 to 4999')
}

/**
 * Splits a progress into its fields and its text, because the broker adds the text's `offset` when it sends them. Copies the
 * object only if it has text: progress is the most frequent report.
 */
export function readProgress (value: unknown): { progress: object, delta?: string | undefined, chunksReceived: unknown } {
  const body: { chunksReceived?: unknown } = checkBody('progress', value)
  return readAppValue(() => {
    const { chunksReceived } = body
    if (!('delta' in body || 'offset' in body)) return { progress: body, chunksReceived }
    const { delta, offset, ...progress }: { delta?: unknown, offset?: unknown } = { ...body }
    return { progress, delta: typeof delta === 'string' ? delta : undefined, chunksReceived }
  })
}

/**
 * Returns the description of a failure for clients. Ignores the toJSON of an `Error`: some contain the request and its
 * credentials.
 */
export function readError (error: unknown): AIErrorInfo {
  return readAppValue(() => describeError(isError(error) ? error : asJson(error)))
}

/** Returns a number from a report's object, such as a result's `chunks`. Returns undefined for any other value. */
export function readCount (body: object, name: 'chunks'): number | undefined {
  const value: unknown = readAppValue(() => (body as Record<string, unknown>)[name])
  return typeof value === 'number' ? value : undefined
}

/**
 * Returns an option of a call. The options may be null, which JavaScript callers pass.
 *
 * @throws `AICW_ERR_INVALID_OPTION` if its getter throws
 */
export function readOption<T extends object, K extends keyof T & string> (options: T | null | undefined, name: K): T[K] | undefined {
  try {
    return options?.[name]
  } catch (error) {
    throw new errors.InvalidOption(name, `can't be read: ${messageOf(error)}`)
  }
}
