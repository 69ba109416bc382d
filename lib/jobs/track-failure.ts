import type { AIErrorInfo } from '../protocol/messages.js'
import { isError } from '../safe-error.js'
import { describeThrown } from './ai-error.js'
import { fieldsOf } from './chunk-text.js'

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
 * Something thrown, as it can be reported. An object that is no `Error` is described here, because further fields of such
 * an object would be sent: a provider's may hold the request with all that is in it. Never throws.
 */
export function reportable (error: unknown): AIErrorInfo | Error {
  return isError(error) ? error : describeThrown(error)
}
