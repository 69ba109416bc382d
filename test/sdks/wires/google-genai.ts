import { events, type Wire, type Wires } from '../scenario.js'

// Google's Gemini API: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent

const SSE = { 'content-type': 'text/event-stream' }
// The candidates' tokens do not include the thoughts. The prompt's tokens include those from the cache.
const usage = { promptTokenCount: 9, cachedContentTokenCount: 4, candidatesTokenCount: 3, thoughtsTokenCount: 2, totalTokenCount: 14 }

type Part = Readonly<Record<string, unknown>>

function chunk (candidates: readonly object[] | undefined, fields: object = {}): object {
  return { ...(candidates !== undefined && { candidates }), ...fields, modelVersion: 'gemini-2.5-flash', responseId: 'r7' }
}

/** Returns a candidate. The JSON of protocol buffers omits an index of 0. */
function candidate (parts: readonly Part[], fields: object = {}): object {
  return { content: { parts, role: 'model' }, ...fields }
}

function text (text: string, fields: object = {}): object {
  return chunk([candidate([{ text }], fields)], { usageMetadata: { promptTokenCount: 9, totalTokenCount: 9 } })
}

const hello = text('Héllo ')
const end = chunk([candidate([{ text: '' }], { finishReason: 'STOP' })], { usageMetadata: usage })
const world = [text('👋'), chunk([candidate([{ text: ' world' }], { finishReason: 'STOP' })], { usageMetadata: usage })]

function stream (...chunks: readonly object[]): Wire {
  return { headers: SSE, body: events(...chunks) }
}

function error (code: number, status: string, message: string): object {
  return { error: { code, message, status, details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: status, domain: 'googleapis.com' }] } }
}

function failure (code: number, status: string, message: string): Wire {
  return { status: code, headers: { 'content-type': 'application/json; charset=UTF-8' }, body: [JSON.stringify(error(code, status, message), null, 2)] }
}

export const googleGenai: Wires = {
  happy: stream(hello, ...world),
  'error-400': failure(400, 'INVALID_ARGUMENT', 'The prompt is too strange'),
  'error-401': failure(401, 'UNAUTHENTICATED', 'Incorrect API key provided'),
  'error-429': failure(429, 'RESOURCE_EXHAUSTED', 'Rate limit reached'),
  'error-500': failure(500, 'INTERNAL', 'The server had an error'),
  'error-503': failure(503, 'UNAVAILABLE', 'The model is overloaded'),
  'error-529': failure(529, 'UNAVAILABLE', 'Overloaded'),
  'error-middle': stream(hello, error(500, 'INTERNAL', 'The server had an error')),
  'run-failed': stream(hello, chunk([candidate([], { finishReason: 'MALFORMED_FUNCTION_CALL', finishMessage: 'The server had an error' })])),
  'clean-cut': stream(hello),
  'socket-cut': { ...stream(hello), end: 'cut' },
  cancel: { ...stream(hello), end: 'open' },
  length: stream(hello, chunk([candidate([], { finishReason: 'MAX_TOKENS' })], { usageMetadata: usage })),
  'content-filter': stream(hello, chunk([{ finishReason: 'SAFETY', safetyRatings: [{ category: 'HARM_CATEGORY_HARASSMENT', probability: 'HIGH', blocked: true }] }])),
  'prompt-blocked': stream(chunk(undefined, { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' }, usageMetadata: { promptTokenCount: 9, totalTokenCount: 9 } })),
  'tool-calls': stream(chunk([candidate([{ functionCall: { name: 'find', args: { query: 'x' } }, thoughtSignature: 'c2ln' }])]), end),
  reasoning: stream(chunk([candidate([{ text: 'They greet me.', thought: true }])]), hello, ...world),
  'two-choices': stream(
    hello, chunk([candidate([{ text: 'Salut' }], { index: 1 })]), text('👋'), chunk([candidate([{ text: ' monde' }], { index: 1, finishReason: 'MAX_TOKENS' }), candidate([{ text: ' world' }], { finishReason: 'STOP' })])
  ),
  empty: stream(end),
  'usage-last': stream(hello, text('👋'), chunk([candidate([{ text: ' world' }], { finishReason: 'STOP' })]), chunk(undefined, { usageMetadata: usage }))
}
