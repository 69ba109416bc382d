import { events, type Wire, type Wires } from '../scenario.js'

// Mistral's API: https://docs.mistral.ai/api/#tag/chat

const SSE = { 'content-type': 'text/event-stream; charset=utf-8' }
const usage = { prompt_tokens: 9, completion_tokens: 5, total_tokens: 14, prompt_tokens_details: { cached_tokens: 4 } }

function chunk (choices: readonly object[], fields: object = {}): object {
  return { id: '7', object: 'chat.completion.chunk', created: 1767225600, model: 'magistral-small-latest', choices, ...fields }
}

function choice (delta: object, finish_reason: string | null = null, index = 0): object {
  return { index, delta, finish_reason }
}

function end (reason = 'stop', delta: object = { content: '' }): object {
  return chunk([choice(delta, reason)], { usage })
}

const opening = chunk([choice({ role: 'assistant', content: '' })])
const hello = chunk([choice({ content: 'Héllo ' })])
const world = [chunk([choice({ content: '👋' })]), chunk([choice({ content: ' world' })])]

function stream (...chunks: readonly object[]): Wire {
  return { headers: SSE, body: events(...chunks, '[DONE]') }
}

function error (type: string, message: string): object {
  return { object: 'error', message, type, param: null, code: '3051', raw_status_code: null }
}

function failure (status: number, type: string, message: string): Wire {
  return { status, headers: { 'content-type': 'application/json' }, body: [JSON.stringify(error(type, message))] }
}

const happy = stream(opening, hello, ...world, end())

export const mistral: Wires = {
  happy,
  'error-400': failure(400, 'invalid_request_error', 'The prompt is too strange'),
  'error-401': failure(401, 'unauthorized', 'Incorrect API key provided'),
  'error-429': failure(429, 'rate_limited', 'Rate limit reached'),
  'error-500': failure(500, 'internal_server_error', 'The server had an error'),
  'error-503': failure(503, 'internal_server_proxy', 'The model is overloaded'),
  'error-529': failure(529, 'internal_server_proxy', 'Overloaded'),
  'error-middle': { headers: SSE, body: events(opening, hello, error('internal_server_error', 'The server had an error')) },
  'run-failed': stream(opening, hello, end('error')),
  'clean-cut': { headers: SSE, body: events(opening, hello) },
  'socket-cut': { headers: SSE, body: events(opening, hello), end: 'cut' },
  cancel: { headers: SSE, body: events(opening, hello), end: 'open' },
  length: stream(opening, hello, end('length')),
  'tool-calls': stream(
    opening,
    end('tool_calls', { content: '', tool_calls: [{ id: 'call_1', function: { name: 'find', arguments: '{"query":"x"}' }, index: 0 }] })
  ),
  reasoning: stream(
    opening,
    chunk([choice({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'They greet me.' }] }] })]),
    chunk([choice({ content: [{ type: 'text', text: 'Héllo ' }, { type: 'reference', reference_ids: [0] }] })]),
    ...world,
    end()
  ),
  'two-choices': stream(
    opening, hello, chunk([choice({ content: 'Salut' }, null, 1)]), ...world, chunk([choice({ content: ' monde' }, 'length', 1)]), end()
  ),
  empty: stream(opening, end()),
  'usage-last': happy
}
