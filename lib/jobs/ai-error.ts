import { aiErrorTypes, isAIErrorType } from '../protocol/codes.js'
import type { AIErrorInfo } from '../protocol/messages.js'
import { fieldOf, isError } from '../util/safe-error.js'
import { lastAttemptOf } from './error-levels.js'
import { sentenceIn, sentenceOf } from './error-sentence.js'
import { isCutOff, isFetchError, statusOf, typeOfError } from './error-type.js'

/**
 * Describes a failed job to clients. `{ message, type }` goes through as it is, further fields too; `retryable` is added where
 * the type is in the table and the app does not say it. Everything else is read like something thrown: see `describeThrown`.
 *
 * @throws what a getter of an object that is no `Error` throws.
 */
export function describeError (error: unknown): AIErrorInfo {
  if (isError(error) || typeof error !== 'object' || error === null) return describeThrown(error)
  const { retryable, ...fields } = error as Partial<AIErrorInfo>
  const { message = fieldOf(error, 'message'), type = fieldOf(error, 'type') } = fields
  return {
    ...fields,
    ...described(typeof message === 'string' ? message : 'unknown error', typeof type === 'string' ? type : 'internal_error'),
    ...(typeof retryable === 'boolean' && { retryable })
  }
}

/**
 * Describes something thrown, as the providers' SDKs do it: its message is the provider's sentence, and its type is found
 * behind wrappers too. All other fields, its stack among them, stay on the server. A property whose getter throws counts as
 * absent. Never throws.
 */
export function describeThrown (thrown: unknown): AIErrorInfo {
  return described(sentenceOfThrown(thrown), typeOfError(thrown))
}

/**
 * Something thrown, as it can be reported. An object that is no `Error` is described here, because further fields of such
 * an object would be sent: a provider's may hold the request with all that is in it. Never throws.
 */
export function reportable (error: unknown): AIErrorInfo | Error {
  return isError(error) ? error : describeThrown(error)
}

/**
 * The sentence of the last attempt where an SDK tried several times. A `cause` is not read: code that wraps an
 * error in one of its own has chosen its message on purpose.
 */
function sentenceOfThrown (thrown: unknown): string {
  if (typeof thrown === 'string') return sentenceOf(thrown) ?? 'unknown error'
  const attempt = lastAttemptOf(thrown)
  if (isFetchError(attempt)) return 'the connection to the model\'s provider failed'
  if (isCutOff(attempt)) return 'the stream ended before the model was done'
  const [message, name] = [fieldOf(attempt, 'message'), fieldOf(attempt, 'name')]
  const status = statusOf(attempt)
  const told = typeof message === 'string' ? sentenceOf(message, status) : undefined
  if (told !== undefined) return told
  if (!isError(attempt)) return sentenceIn(attempt) ?? 'unknown error'
  if (status !== undefined) return `the model's provider answered with HTTP status ${status}`
  return typeof name === 'string' && name !== '' ? name : 'unknown error'
}

function described (message: string, type: string): AIErrorInfo {
  return { message, type, ...(isAIErrorType(type) && { retryable: aiErrorTypes[type].retryable }) }
}
