import { aiErrorTypes, isAIErrorType } from '../protocol/codes.js'
import type { AIErrorInfo } from '../protocol/messages.js'
import { fieldOf, isError } from '../util/safe-error.js'
import { lastAttemptOf } from './error-levels.js'
import { sentenceIn, sentenceOf } from './error-sentence.js'
import { isCutOff, isFetchError, statusOf, typeOfError } from './error-type.js'

/**
 * Returns the description of a failed job for clients. `{ message, type }` is kept, including further fields. `retryable` is
 * added if the type is in the table and the app did not set it. Any other value is treated like a thrown one: see
 * `describeThrown`.
 *
 * @throws the error of a getter, if the value is an object that is not an `Error`.
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
 * Returns the description of a thrown value for clients. The message is the provider's sentence, extracted from the SDK's
 * error. The type is found inside wrapping errors too. All other fields, including the stack, stay on the server. A property
 * whose getter throws counts as absent. Never throws.
 */
export function describeThrown (thrown: unknown): AIErrorInfo {
  return described(sentenceOfThrown(thrown), typeOfError(thrown))
}

/**
 * Returns a thrown value in a form that can be reported. Replaces an object that is not an `Error` by its description, because
 * its further fields would be sent, and a provider's error may contain the whole request. Never throws.
 */
export function reportable (error: unknown): AIErrorInfo | Error {
  return isError(error) ? error : describeThrown(error)
}

/**
 * Returns the message for a thrown value. Uses the last attempt if an SDK retried. Ignores `cause`, because code that wraps an
 * error has chosen its own message on purpose.
 */
function sentenceOfThrown (thrown: unknown): string {
  if (typeof thrown === 'string') return sentenceOf(thrown) ?? 'unknown error'
  const attempt = lastAttemptOf(thrown)
  if (isFetchError(attempt)) return 'the connection to the model\'s provider failed'
  if (isCutOff(attempt)) return 'the stream ended before the model was done'
  const [message, name] = [fieldOf(attempt, 'message'), fieldOf(attempt, 'name')]
  const status = statusOf(attempt)
  const sentence = typeof message === 'string' ? sentenceOf(message, status) : undefined
  if (sentence !== undefined) return sentence
  if (!isError(attempt)) return sentenceIn(attempt) ?? 'unknown error'
  if (status !== undefined) return `the model's provider answered with HTTP status ${status}`
  return typeof name === 'string' && name !== '' ? name : 'unknown error'
}

function described (message: string, type: string): AIErrorInfo {
  return { message, type, ...(isAIErrorType(type) && { retryable: aiErrorTypes[type].retryable }) }
}
