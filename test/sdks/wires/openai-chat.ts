import { events, further, type Wire, type Wires } from '../scenario.js'

// OpenAI's Chat Completions API, which many hosts implement: https://platform.openai.com/docs/api-reference/chat-streaming

const SSE = { 'content-type': 'text/event-stream' }
const usage = { prompt_tokens: 9, completion_tokens: 5, total_tokens: 14 }

function chunk (choices: readonly object[], fields: object = {}): object {
  return { id: 'chatcmpl-7', object: 'chat.completion.chunk', created: 1767225600, model: 'gpt-5-mini', choices, ...fields }
}

function choice (delta: object, finish_reason: string | null = null, index = 0): object {
  return { index, delta, logprobs: null, finish_reason }
}

const opening = chunk([choice({ role: 'assistant', content: '', refusal: null })])
const hello = chunk([choice({ content: 'Héllo ' })])
const world = [chunk([choice({ content: '👋' })]), chunk([choice({ content: ' world' })])]
const end = (reason = 'stop'): object => chunk([choice({}, reason)])
const usageOnly = chunk([], { usage })

function stream (...chunks: readonly object[]): Wire {
  return { headers: SSE, body: events(...chunks, '[DONE]') }
}

function failure (status: number, error: object): Wire {
  return { status, headers: { 'content-type': 'application/json' }, body: [JSON.stringify({ error })] }
}

export const openaiChat: Wires = {
  happy: stream(opening, hello, ...world, end(), usageOnly),
  'error-400': failure(400, { message: 'The prompt is too strange', type: 'invalid_request_error', param: 'messages', code: null }),
  'error-401': failure(401, { message: 'Incorrect API key provided', type: 'invalid_request_error', param: null, code: 'invalid_api_key' }),
  'error-429': failure(429, { message: 'Rate limit reached', type: 'requests', param: null, code: 'rate_limit_exceeded' }),
  'error-500': failure(500, { message: 'The server had an error', type: 'server_error', param: null, code: null }),
  'error-503': failure(503, { message: 'The model is overloaded', type: 'server_error', param: null, code: null }),
  'error-529': failure(529, { message: 'Overloaded', type: 'overloaded_error', param: null, code: null }),
  'error-middle': { headers: SSE, body: events(opening, hello, { error: { message: 'The server had an error', type: 'server_error', param: null, code: null } }) },
  'clean-cut': { headers: SSE, body: events(opening, hello) },
  'socket-cut': { headers: SSE, body: events(opening, hello), end: 'cut' },
  cancel: { headers: SSE, body: events(opening, hello), end: 'open' },
  refusal: stream(opening, chunk([choice({ refusal: 'I can\'t ' })]), chunk([choice({ refusal: 'help with that.' })]), end()),
  length: stream(opening, hello, end('length')),
  'content-filter': stream(opening, hello, end('content_filter')),
  'tool-calls': stream(
    opening,
    chunk([choice({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'find', arguments: '' } }] })]),
    chunk([choice({ tool_calls: [{ index: 0, function: { arguments: '{"query":"x"}' } }] })]),
    end('tool_calls')
  ),
  reasoning: stream(opening, chunk([choice({ reasoning_content: 'They greet me.' })]), hello, ...world, end()),
  'two-choices': stream(
    opening, chunk([choice({ content: 'Salut' }, null, 1)]), hello, chunk([choice({ content: ' monde' }, null, 1)]), ...world,
    chunk([choice({}, 'length', 1)]), end()
  ),
  empty: stream(opening, end()),
  'usage-last': stream(opening, hello, ...world, end(), usageOnly)
}

const calls = [
  opening,
  chunk([choice({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'find', arguments: '{"query":"x"}' } }] })]),
  end('tool_calls'), usageOnly
]

/** For frameworks that call tools by themselves: a tool call, and the reply to its result. */
export const toolLoop: Wire = { ...stream(...calls), next: further(openaiChat.happy!) }
