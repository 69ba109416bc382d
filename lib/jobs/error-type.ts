import { aiErrorTypes, isAIErrorType, type AIErrorType } from '../protocol/codes.js'
import { fieldOf } from '../util/safe-error.js'
import { levelsOf } from './error-levels.js'

const rows = Object.entries(aiErrorTypes) as Array<[AIErrorType, { readonly statuses?: readonly number[], readonly aliases?: readonly string[] }]>
const typeOfStatus: ReadonlyMap<number, AIErrorType> = new Map(rows.flatMap(([type, { statuses = [] }]) => statuses.map((status) => [status, type] as const)))
const typeOfAlias: ReadonlyMap<string, AIErrorType> = new Map(rows.flatMap(([type, { aliases = [] }]) => aliases.map((alias) => [alias, type] as const)))

/**
 * What a provider's word says better than its HTTP status: OpenAI sends `insufficient_quota` with a 429, though no later attempt
 * succeeds before somebody pays, and hosts send `content_filter` with a 400.
 */
const PRECISE: ReadonlySet<string> = new Set<AIErrorType>(['billing_error', 'content_filter'])

/** What the class of an SDK's error says: refusals and blocked requests, and runs that ended before the model had an answer. */
const CLASSES: ReadonlyMap<string, AIErrorType> = new Map([
  ['ModelRefusalError', 'content_filter'],
  ...['Input', 'Output', 'ToolInput', 'ToolOutput'].map((place) => [`${place}GuardrailTripwireTriggered`, 'content_filter'] as const),
  ['ModelBehaviorError', 'incomplete'], ['MaxTurnsExceededError', 'incomplete'], ['GraphRecursionError', 'incomplete']
])

/** Aborts, by the names and codes of the DOM, undici, axios, got, and the SDKs. */
const ABORTS: ReadonlySet<unknown> = new Set([
  'AbortError', 'APIUserAbortError', 'RequestAbortedError', 'ResponseAborted', 'ModelAbortError', 'CanceledError', 'CancelError',
  'ABORT_ERR', 'UND_ERR_ABORTED', 'ERR_CANCELED'
])
const TIMEOUT = /Timeout(?:Error|Exception)?$|TIMEOUT$|TIMEDOUT$/
/** A connection that was refused, reset or cut, or a host that was not found: codes of Node.js, undici, axios and node-fetch. */
const CONNECTION = new RegExp('^(?:ECONN(?:REFUSED|RESET|ABORTED)|EPIPE|ENOTFOUND|EAI_[A-Z]+|E(?:HOST|NET)(?:UNREACH|DOWN)' +
  '|UND_ERR_(?:SOCKET|CLOSED|DESTROYED)|ERR_NETWORK|ERR_STREAM_PREMATURE_CLOSE|ERR_HTTP2_(?:STREAM|SESSION)_ERROR)$')
/** What fetch throws for each failure of the network. Its `cause`, if there is any, says more. */
const FETCH_FAILED = /^(?:fetch failed|terminated|Failed to fetch|Load failed)$/
/** What SDKs throw for a response that ended too early: Ollama's, Google's, OpenAI's and Anthropic's. */
const CUT_OFF = new RegExp('^(?:Did not receive done or success response in stream\\.|Incomplete JSON segment at the end' +
  '|request ended without sending any chunks|missing finish_reason for choice \\d+)$')

/**
 * The type of something thrown: the first of these that one of its levels tells, the outermost level first.
 *
 * 1. its HTTP status; a timeout; an abort, unless an inner level is a timeout; the code of a failed connection; a `type` of
 *    the table
 * 2. that it is a failed connection, without a code, or a response that was cut off
 * 3. the provider's own word for it
 *
 * What says nothing is an `internal_error`. Never throws.
 */
export function typeOfError (thrown: unknown): string {
  const levels = levelsOf(thrown)
  const certain = first(levels, certainTypeOf)
  if (certain === 'cancelled' && levels.some(isTimeout)) return 'timeout_error'
  return certain ?? first(levels, uncertainTypeOf) ?? first(levels, wordOf) ?? 'internal_error'
}

/** Whether it says that something took too long. Never throws. */
export function isTimeoutError (thrown: unknown): boolean {
  return typeOfError(thrown) === 'timeout_error'
}

/** Returns the HTTP status (400 to 599) of an error: its own, or that of its `response` or its provider's `error` body. */
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
  const precise = wordsOf(level).map((word) => typeOfAlias.get(word) ?? word).find((type) => PRECISE.has(type))
  if (precise !== undefined) return precise as AIErrorType
  const status = statusOf(level)
  const known = status === undefined ? undefined : typeOfStatus.get(status) ?? (status >= 500 ? 'api_error' : undefined)
  if (known !== undefined) return known
  if (isTimeout(level)) return 'timeout_error'
  if (marksOf(level).some((mark) => ABORTS.has(mark))) return 'cancelled'
  if (marksOf(level).some((mark) => CONNECTION.test(mark))) return 'connection_error'
  const ofClass = marksOf(level).map((mark) => CLASSES.get(mark)).find((type) => type !== undefined)
  if (ofClass !== undefined) return ofClass
  const own = textOf(level, 'type')
  return own !== undefined && isAIErrorType(own) ? own : undefined
}

function isTimeout (level: unknown): boolean {
  const marks = marksOf(level)
  // Axios reports its own timeouts with the code of an aborted connection.
  if (marks.includes('ECONNABORTED') && String(textOf(level, 'message')).startsWith('timeout')) return true
  return marks.some((mark) => TIMEOUT.test(mark))
}

function uncertainTypeOf (level: unknown): AIErrorType | undefined {
  if (isFailedFetch(level)) return 'connection_error'
  return isCutOff(level) ? 'incomplete' : undefined
}

/** Whether an SDK threw it because the response ended too early, in words for developers. Never throws. */
export function isCutOff (thrown: unknown): boolean {
  return CUT_OFF.test(String(textOf(thrown, 'message')))
}

function isFailedFetch (level: unknown): boolean {
  const marks = marksOf(level)
  return marks.includes('APIConnectionError') || marks.includes('ConnectionError') || isFetchError(level)
}

/** Whether fetch threw it for a failure of the network: its message is for nobody. Never throws. */
export function isFetchError (thrown: unknown): boolean {
  return marksOf(thrown).includes('TypeError') && FETCH_FAILED.test(String(textOf(thrown, 'message')))
}

/** What an error is called: its name, its class, since many SDKs' errors are all named `Error`, and its code. */
function marksOf (level: unknown): string[] {
  return [fieldOf(level, 'name'), fieldOf(fieldOf(level, 'constructor'), 'name'), fieldOf(level, 'code')].filter(isGiven)
}

/** What the provider calls it. OpenAI's errors hold the answer's `error`, Anthropic's the answer, which holds it. */
function wordsOf (level: unknown): string[] {
  const error = fieldOf(level, 'error')
  const words = [fieldOf(level, 'type'), fieldOf(fieldOf(error, 'error'), 'type'), fieldOf(error, 'type'), fieldOf(level, 'code'), fieldOf(error, 'code')]
  // Anthropic's answer is itself of the type `error`.
  return words.filter(isGiven).filter((word) => word !== 'error')
}

function wordOf (level: unknown): string | undefined {
  const [word] = wordsOf(level)
  return word === undefined ? undefined : typeOfAlias.get(word) ?? word
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

function isGiven (value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
