import type { AIErrorInfo } from '../protocol/messages.js'
import { fieldOf, isError } from '../safe-error.js'
import { fieldsOf, stringOf } from './chunk-text.js'

/**
 * The failure that a chunk tells of, in streams that throw nothing and end as if all were well: the AI SDK's
 * `fullStream`, and OpenAI's responses.
 */
export function failureOf (chunk: unknown): AIErrorInfo | Error | undefined {
  if (typeof chunk !== 'object') return undefined
  const { type, error, errorText, message, code, response } = fieldsOf(chunk)
  switch (type) {
    case 'error': {
      // In OpenAI's event they are fields of the chunk, whose `type` is not the error's.
      const told = [error, errorText, message === undefined ? undefined : { message, code }]
        .find((value) => value !== undefined && value !== null)
      return told === undefined ? undefined : reportable(told)
    }
    case 'response.failed': return reportable(fieldsOf(response).error)
    case 'abort': return { message: 'cancelled', type: 'cancelled' }
    default: return undefined
  }
}

/**
 * Something thrown, as it can be reported. Of what is no `Error` only the message and the type are: a provider's object
 * may hold the request with all that is in it. Never throws.
 */
export function reportable (error: unknown): AIErrorInfo | Error {
  if (isError(error)) return error
  return {
    message: [error, fieldOf(error, 'message')].map(stringOf).find(isGiven) ?? 'unknown error',
    type: [fieldOf(error, 'type'), fieldOf(error, 'code')].map(stringOf).find(isGiven) ?? 'internal_error'
  }
}

function isGiven (text: string): boolean {
  return text !== ''
}
