import { describeError } from '../jobs/ai-error.js'
import { isId } from '../protocol/ids.js'
import type { AIErrorInfo } from '../protocol/messages.js'
import { asJson, checkBody, readAppValue } from '../util/app-values.js'
import { errors } from '../util/errors.js'
import { isError, messageOf } from '../util/safe-error.js'

export function checkId (name: 'sessionId' | 'userId' | 'jobId', value: unknown): string {
  if (!isId(value)) throw new errors.InvalidId(name)
  return value
}

/**
 * A progress, and apart from it the text that it brings: that goes out beside what the broker counts of it. Copied only if
 * there is any; a progress is said more often than anything else.
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

/** What is told of a failure. An `Error`'s toJSON is not asked: some tell the request, its credentials included. */
export function readError (error: unknown): AIErrorInfo {
  return readAppValue(() => describeError(isError(error) ? error : asJson(error)))
}

/** A number of a report's body, such as a result's `chunks`. Undefined for anything else. */
export function readCount (body: object, name: 'chunks'): number | undefined {
  const value: unknown = readAppValue(() => (body as Record<string, unknown>)[name])
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
