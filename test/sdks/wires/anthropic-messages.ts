import type { Wire, Wires } from '../scenario.js'

// Anthropic's Messages API: https://platform.claude.com/docs/en/build-with-claude/streaming

const SSE = { 'content-type': 'text/event-stream; charset=utf-8' }

type Event = { readonly type: string } & Readonly<Record<string, unknown>>

const opening: Event = {
  type: 'message_start',
  message: {
    id: 'msg_7', type: 'message', role: 'assistant', model: 'claude-sonnet-5-5', content: [], stop_reason: null, stop_sequence: null, stop_details: null,
    usage: {
      input_tokens: 2, cache_creation_input_tokens: 3, cache_read_input_tokens: 4, cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 0 },
      output_tokens: 1, service_tier: 'standard'
    }
  }
}
const ping: Event = { type: 'ping' }
const stop: Event = { type: 'message_stop' }

function started (index: number, content_block: object): Event {
  return { type: 'content_block_start', index, content_block }
}

function added (index: number, delta: object): Event {
  return { type: 'content_block_delta', index, delta }
}

function stopped (index: number): Event {
  return { type: 'content_block_stop', index }
}

function text (text: string, index = 0): Event {
  return added(index, { type: 'text_delta', text })
}

function ended (stop_reason: string, details: object | null = null): Event[] {
  return [{ type: 'message_delta', delta: { stop_reason, stop_sequence: null, stop_details: details }, usage: { output_tokens: 5 } }, stop]
}

function block (index: number, ...texts: readonly string[]): Event[] {
  return [started(index, { type: 'text', text: '' }), ...texts.map((each) => text(each, index)), stopped(index)]
}

function body (...events: readonly Event[]): string[] {
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
}

function stream (...events: readonly Event[]): Wire {
  return { headers: SSE, body: body(...events) }
}

function error (type: string, message: string): Event {
  return { type: 'error', error: { type, message, details: null }, request_id: 'req_7' }
}

function failure (status: number, type: string, message: string): Wire {
  return { status, headers: { 'content-type': 'application/json', 'request-id': 'req_7' }, body: [JSON.stringify(error(type, message))] }
}

const begun = [opening, started(0, { type: 'text', text: '' }), ping, text('Héllo ')]
const happy = stream(opening, ...block(0, 'Héllo ', '👋', ' world'), ...ended('end_turn'))

export const anthropicMessages: Wires = {
  happy,
  'error-400': failure(400, 'invalid_request_error', 'The prompt is too strange'),
  'error-401': failure(401, 'authentication_error', 'Incorrect API key provided'),
  'error-429': failure(429, 'rate_limit_error', 'Rate limit reached'),
  'error-500': failure(500, 'api_error', 'The server had an error'),
  'error-503': failure(503, 'api_error', 'The model is overloaded'),
  'error-529': failure(529, 'overloaded_error', 'Overloaded'),
  'error-middle': stream(...begun, error('api_error', 'The server had an error')),
  'clean-cut': stream(...begun),
  'socket-cut': { ...stream(...begun), end: 'cut' },
  cancel: { ...stream(...begun), end: 'open' },
  // The explanation comes from the provider's classifier and not from the model.
  refusal: stream(opening, ...ended('refusal', { type: 'refusal', category: 'cyber', explanation: 'I can\'t help with that.' })),
  length: stream(...begun, stopped(0), ...ended('max_tokens')),
  'tool-calls': stream(
    opening,
    started(0, { type: 'tool_use', id: 'toolu_1', name: 'find', input: {} }),
    added(0, { type: 'input_json_delta', partial_json: '' }),
    added(0, { type: 'input_json_delta', partial_json: '{"query":"x"}' }),
    stopped(0),
    ...ended('tool_use')
  ),
  reasoning: stream(
    opening,
    started(0, { type: 'thinking', thinking: '', signature: '' }),
    added(0, { type: 'thinking_delta', thinking: 'They greet me.' }),
    added(0, { type: 'signature_delta', signature: 'c2ln' }),
    stopped(0),
    started(1, { type: 'redacted_thinking', data: 'ZGF0YQ==' }),
    stopped(1),
    ...block(2, 'Héllo ', '👋', ' world'),
    ...ended('end_turn')
  ),
  empty: stream(opening, ...ended('end_turn')),
  'usage-last': happy
}
