import type { AIErrorInfo } from '../../protocol/messages.js'
import { fieldsOf, type Fields } from './protocol.js'
import { reportable } from '../ai-error.js'

const ERROR_TYPE = /(?:^|[._-])error$/i

/**
 * The failure that a chunk of no known protocol reports: an event whose type says error, or a provider's error body, as
 * gateways send it in the middle of a stream. Undefined for every other chunk.
 */
export function failureOf (chunk: Fields): AIErrorInfo | Error | undefined {
  const { type, error, errorText, message, code } = chunk
  if (type === undefined ? !isTold(error) : typeof type !== 'string' || !ERROR_TYPE.test(type)) return undefined
  return [error, errorText].filter(isTold).map(reportable)[0] ?? reportable({ message, code })
}

function isTold (error: unknown): boolean {
  return typeof error === 'string' ? error !== '' : fieldsOf(error) === error
}
