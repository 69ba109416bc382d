import type { Wire, Wires } from '../scenario.js'

// Version 2 of Cohere's API: https://docs.cohere.com/reference/chat-stream

const SSE = { 'content-type': 'text/event-stream; charset=utf-8' }
const usage = { billed_units: { input_tokens: 3, output_tokens: 5 }, tokens: { input_tokens: 9, output_tokens: 5 }, cached_tokens: 4 }

type Event = { readonly type: string } & Readonly<Record<string, unknown>>

const opening: Event = {
  id: '29f14a5a', type: 'message-start', delta: { message: { role: 'assistant', content: [], tool_plan: '', tool_calls: [], citations: [] } }
}

function added (index: number, content: object): Event {
  return { type: 'content-delta', index, delta: { message: { content } } }
}

function block (index: number, type: 'text' | 'thinking', ...texts: readonly string[]): Event[] {
  return [
    { type: 'content-start', index, delta: { message: { content: { type, [type]: '' } } } },
    ...texts.map((text) => added(index, { [type]: text })),
    { type: 'content-end', index }
  ]
}

function ended (finish_reason: string, fields: object = {}): Event {
  return { type: 'message-end', id: '29f14a5a', delta: { finish_reason, usage, ...fields } }
}

function body (...events: readonly Event[]): string[] {
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
}

function stream (...events: readonly Event[]): Wire {
  return { headers: SSE, body: [...body(...events), 'data: [DONE]\n\n'] }
}

function failure (status: number, message: string): Wire {
  return { status, headers: { 'content-type': 'application/json' }, body: [JSON.stringify({ id: '29f14a5a', message })] }
}

const begun = [opening, ...block(0, 'text', 'Héllo ').slice(0, -1)]
const text = block(0, 'text', 'Héllo ', '👋', ' world')
const happy = stream(opening, ...text, ended('COMPLETE'))
const failed = stream(...begun, ended('ERROR', { error: 'The server had an error' }))

export const cohere: Wires = {
  happy,
  'error-400': failure(400, 'The prompt is too strange'),
  'error-401': failure(401, 'Incorrect API key provided'),
  'error-429': failure(429, 'Rate limit reached'),
  'error-500': failure(500, 'The server had an error'),
  'error-503': failure(503, 'The model is overloaded'),
  'error-529': failure(529, 'Overloaded'),
  'error-middle': failed,
  'run-failed': failed,
  'clean-cut': { headers: SSE, body: body(...begun) },
  'socket-cut': { headers: SSE, body: body(...begun), end: 'cut' },
  cancel: { headers: SSE, body: body(...begun), end: 'open' },
  length: stream(...begun, ended('MAX_TOKENS')),
  'tool-calls': stream(
    opening,
    { type: 'tool-plan-delta', delta: { message: { tool_plan: 'I will search.' } } },
    { type: 'tool-call-start', index: 0, delta: { message: { tool_calls: { id: 'find_1', type: 'function', function: { name: 'find', arguments: '' } } } } },
    { type: 'tool-call-delta', index: 0, delta: { message: { tool_calls: { function: { arguments: '{"query":"x"}' } } } } },
    { type: 'tool-call-end', index: 0 },
    ended('TOOL_CALL')
  ),
  reasoning: stream(opening, ...block(0, 'thinking', 'They greet me.'), ...block(1, 'text', 'Héllo ', '👋', ' world'), ended('COMPLETE')),
  empty: stream(opening, ended('COMPLETE')),
  'usage-last': stream(
    opening, ...text,
    { type: 'citation-start', index: 0, delta: { message: { citations: { start: 0, end: 5, text: 'Héllo', sources: [], type: 'TEXT_CONTENT', content_index: 0 } } } },
    { type: 'citation-end', index: 0 },
    ended('COMPLETE')
  )
}
