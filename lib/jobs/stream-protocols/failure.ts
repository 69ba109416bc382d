import type { AIErrorInfo } from '../../protocol/messages.js'
import { fieldsOf, type Fields } from './protocol.js'
import { reportable } from '../ai-error.js'

const ERROR_TYPE = /(?:^|[._-])error$/i

/**
 * Returns the failure that a chunk of an unknown protocol reports: an event with the type `error`, or a provider's error body,
 * as gateways send it during a stream. Returns undefined for any other chunk.
 */
export function failureOf (chunk: Fields): AIErrorInfo | Error | undefined {
  const { type, error, errorText, message, code } = chunk
  if (type === undefined ? !isGiven(error) : typeof type !== 'string' || !ERROR_TYPE.test(type)) return undefined
  return [error, errorText].filter(isGiven).map(reportable)[0] ?? reportable({ message, code })
}

function isGiven (error: unknown): boolean {
  return typeof error === 'string' ? error !== '' : fieldsOf(error) === error
}
