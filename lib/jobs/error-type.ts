import { aiErrorTypes, isAIErrorType, type AIErrorType } from '../protocol/codes.js'
import { fieldOf } from '../util/safe-error.js'
import { levelsOf } from './error-levels.js'

const rows = Object.entries(aiErrorTypes) as Array<[AIErrorType, { readonly statuses?: readonly number[], readonly aliases?: readonly string[] }]>
const typeOfStatus: ReadonlyMap<number, AIErrorType> = new Map(rows.flatMap(([type, { statuses = [] }]) => statuses.map((status) => [status, type] as const)))
const typeOfAlias: ReadonlyMap<string, AIErrorType> = new Map(rows.flatMap(([type, { aliases = [] }]) => aliases.map((alias) => [alias, type] as const)))

/**
 * Types for which the provider's error code is more precise than its HTTP status. OpenAI sends `insufficient_quota` with a 429,
 * although retries fail until the account is paid. Hosts send `content_filter` with a 400.
 */
const PRECISE: ReadonlySet<string> = new Set<AIErrorType>(['billing_error', 'content_filter'])

/** Types by the class of an SDK's error: refusals, blocked requests, and runs that ended before the model had an answer. */
const CLASSES: ReadonlyMap<string, AIErrorType> = new Map([
  ['ModelRefusalError', 'content_filter'],
  ...['Input', 'Output', 'ToolInput', 'ToolOutput'].map((place) => [`${place}GuardrailTripwireTriggered`, 'content_filter'] as const),
  ['ModelBehaviorError', 'incomplete'], ['MaxTurnsExceededError', 'incomplete'], ['GraphRecursionError', 'incomplete']
])

/** Names and codes of aborts in the DOM, undici, axios, got and the SDKs. */
const ABORTS: ReadonlySet<unknown> = new Set([
  'AbortError', 'APIUserAbortError', 'RequestAbortedError', 'ResponseAborted', 'ModelAbortError', 'CanceledError', 'CancelError',
  'ABORT_ERR', 'UND_ERR_ABORTED', 'ERR_CANCELED'
])
const TIMEOUT = /Timeout(?:Error|Exception)?$|TIMEOUT$|TIMEDOUT$/
/** Codes of failed connections and unknown hosts in Node.js, undici, axios and node-fetch. */
const CONNECTION = new RegExp('^(?:ECONN(?:REFUSED|RESET|ABORTED)|EPIPE|ENOTFOUND|EAI_[A-Z]+|E(?:HOST|NET)(?:UNREACH|DOWN)' +
  '|UND_ERR_(?:SOCKET|CLOSED|DESTROYED)|ERR_NETWORK|ERR_STREAM_PREMATURE_CLOSE|ERR_HTTP2_(?:STREAM|SESSION)_ERROR)$')
/** Messages of fetch for any network failure. Its `cause`, if present, has the details. */
const FETCH_FAILED = /^(?:fetch failed|terminated|Failed to fetch|Load failed)$/
/** Messages of the SDKs of Ollama, Google, OpenAI and Anthropic for a response that ended too early. */
const CUT_OFF = new RegExp('^(?:Did not receive done or success response in stream\\.|Incomplete JSON segment at the end' +
  '|request ended without sending any chunks|missing finish_reason for choice \\d+)$')

/**
 * Returns the type of a thrown value. Each rule is tried on the error and its nested errors, from the outside in, before the
 * next rule:
 *
 * 1. an HTTP status, a timeout, an abort (unless an inner error is a timeout), the code of a failed connection, or a `type` of
 *    the table
 * 2. a failed connection without a code, or a response that ended too early
 * 3. the provider's own error type
 *
 * If no rule matches, the type is `internal_error`. Never throws.
 */
export function typeOfError (thrown: unknown): string {
  const levels = levelsOf(thrown)
  const certain = first(levels, certainTypeOf)
  if (certain === 'cancelled' && levels.some(isTimeout)) return 'timeout_error'
  return certain ?? first(levels, uncertainTypeOf) ?? first(levels, codeOf) ?? 'internal_error'
}

/** Whether a thrown value is a timeout. Never throws. */
export function isTimeoutError (thrown: unknown): boolean {
  return typeOfError(thrown) === 'timeout_error'
}

/** Returns the HTTP status (400 to 599) of an error, of its `response`, or of its `error` body. */
export function statusOf (level: unknown): number | undefined {
  const holders = [level, fieldOf(level, 'response'), fieldOf(level, 'error')]
  const given = holders.flatMap((holder) => ['status', 'statusCode', 'status_code', 'code'].map((name) => fieldOf(holder, name)))
  return [...given, fieldOf(fieldOf(level, '$metadata'), 'httpStatusCode')].map(toStatus).find((status) => status !== undefined)
}

function toStatus (value: unknown): number | undefined {
  const status = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value
  return typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599 ? status : undefined
}

function certainTypeOf (level: unknown): AIErrorType | undefined {
  const precise = codesOf(level).map((code) => typeOfAlias.get(code) ?? code).find((type) => PRECISE.has(type))
  if (precise !== undefined) return precise as AIErrorType
  const status = statusOf(level)
  const known = status === undefined ? undefined : typeOfStatus.get(status) ?? (status >= 500 ? 'api_error' : undefined)
  if (known !== undefined) return known
  if (isTimeout(level)) return 'timeout_error'
  if (namesOf(level).some((name) => ABORTS.has(name))) return 'cancelled'
  if (namesOf(level).some((name) => CONNECTION.test(name))) return 'connection_error'
  const byClass = namesOf(level).map((name) => CLASSES.get(name)).find((type) => type !== undefined)
  if (byClass !== undefined) return byClass
  const own = textOf(level, 'type')
  return own !== undefined && isAIErrorType(own) ? own : undefined
}

function isTimeout (level: unknown): boolean {
  const names = namesOf(level)
  // Axios reports its own timeouts with the code of an aborted connection.
  if (names.includes('ECONNABORTED') && String(textOf(level, 'message')).startsWith('timeout')) return true
  return names.some((name) => TIMEOUT.test(name))
}

function uncertainTypeOf (level: unknown): AIErrorType | undefined {
  if (isFailedFetch(level)) return 'connection_error'
  return isCutOff(level) ? 'incomplete' : undefined
}

/** Whether an SDK threw it because the response ended too early. Such messages are not suitable for users. Never throws. */
export function isCutOff (thrown: unknown): boolean {
  return CUT_OFF.test(String(textOf(thrown, 'message')))
}

function isFailedFetch (level: unknown): boolean {
  const names = namesOf(level)
  return names.includes('APIConnectionError') || names.includes('ConnectionError') || isFetchError(level)
}

/** Whether fetch threw it for a network failure. Its message has no useful information. Never throws. */
export function isFetchError (thrown: unknown): boolean {
  return namesOf(thrown).includes('TypeError') && FETCH_FAILED.test(String(textOf(thrown, 'message')))
}

/** Returns an error's name, class and code. The class matters because many SDKs name all their errors `Error`. */
function namesOf (level: unknown): string[] {
  return [fieldOf(level, 'name'), fieldOf(fieldOf(level, 'constructor'), 'name'), fieldOf(level, 'code')].filter(isNonEmptyString)
}

/**
 * Returns the provider's error types and codes. OpenAI's errors hold the body's `error`, and Anthropic's hold the whole body.
 */
function codesOf (level: unknown): string[] {
  const error = fieldOf(level, 'error')
  const codes = [fieldOf(level, 'type'), fieldOf(fieldOf(error, 'error'), 'type'), fieldOf(error, 'type'), fieldOf(level, 'code'), fieldOf(error, 'code')]
  // The type of Anthropic's error body is always `error`.
  return codes.filter(isNonEmptyString).filter((code) => code !== 'error')
}

function codeOf (level: unknown): string | undefined {
  const [code] = codesOf(level)
  return code === undefined ? undefined : typeOfAlias.get(code) ?? code
}

function textOf (value: unknown, name: string): string | undefined {
  const text = fieldOf(value, name)
  return typeof text === 'string' ? text : undefined
}

function first<T> (levels: readonly unknown[], read: (level: unknown) => T | undefined): T | undefined {
  for (const level of levels) {
    const found = read(level)
    if (found !== undefined) return found
  }
  return undefined
}

function isNonEmptyString (value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
