import { further, type Wire, type Wires } from '../scenario.js'
import { openaiChat } from './openai-chat.js'

// OpenAI's Responses API: https://platform.openai.com/docs/api-reference/responses-streaming

interface Event {
  readonly type: string
  readonly [field: string]: unknown
}

const SSE = { 'content-type': 'text/event-stream' }
const usage = { input_tokens: 9, input_tokens_details: { cached_tokens: 0 }, output_tokens: 5, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 14 }

function response (status: string, fields: object = {}): object {
  return {
    id: 'resp_1', object: 'response', created_at: 1767225600, status, model: 'gpt-5-mini', output: [], error: null, incomplete_details: null,
    instructions: null, metadata: {}, parallel_tool_calls: true, temperature: 1, tool_choice: 'auto', tools: [], top_p: 1, usage: null, ...fields
  }
}

const place = { item_id: 'msg_1', output_index: 0, content_index: 0 }
const item = (status: string, content: readonly object[] = []): object => ({ id: 'msg_1', type: 'message', role: 'assistant', status, content })
const text = (text: string): object => ({ type: 'output_text', text, annotations: [], logprobs: [] })
const delta = (delta: string): Event => ({ type: 'response.output_text.delta', ...place, delta, logprobs: [] })
const call = { id: 'fc_1', type: 'function_call', status: 'completed', name: 'find', call_id: 'call_1', arguments: '{"query":"x"}' }

const opening = [
  { type: 'response.created', response: response('in_progress') },
  { type: 'response.in_progress', response: response('in_progress') }
]
const message = [
  { type: 'response.output_item.added', output_index: 0, item: item('in_progress') },
  { type: 'response.content_part.added', ...place, part: text('') }
]
const begun = [...opening, ...message, delta('Héllo ')]

function messageDone (whole: string): Event[] {
  return [
    { type: 'response.output_text.done', ...place, text: whole, logprobs: [] },
    { type: 'response.content_part.done', ...place, part: text(whole) },
    { type: 'response.output_item.done', output_index: 0, item: item('completed', [text(whole)]) }
  ]
}

function end (whole: string): Event[] {
  return [...messageDone(whole), { type: 'response.completed', response: response('completed', { output: [item('completed', [text(whole)])], usage }) }]
}

/** Returns the wire of a response's events, each with its number and its name. */
function stream (events: readonly Event[], end?: Wire['end']): Wire {
  const body = events.map((event, number) => {
    return `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number: number })}\n\n`
  })
  return { headers: SSE, body, ...(end !== undefined && { end }) }
}

function incomplete (reason: string): Wire {
  return stream([...begun, ...messageDone('Héllo '), {
    type: 'response.incomplete',
    response: response('incomplete', { incomplete_details: { reason }, output: [item('incomplete', [text('Héllo ')])], usage })
  }])
}

const whole = [...begun, delta('👋'), delta(' world'), ...end('Héllo 👋 world')]
const refusal = 'I can\'t help with that.'

const calls = [
  ...opening, { type: 'response.output_item.added', output_index: 0, item: { ...call, status: 'in_progress', arguments: '' } },
  { type: 'response.function_call_arguments.delta', item_id: 'fc_1', output_index: 0, delta: '{"query":"x"}' },
  { type: 'response.function_call_arguments.done', item_id: 'fc_1', output_index: 0, name: 'find', arguments: '{"query":"x"}' },
  { type: 'response.output_item.done', output_index: 0, item: call },
  { type: 'response.completed', response: response('completed', { output: [call], usage }) }
]

/** For frameworks that call tools by themselves: a tool call, and the reply to its result. */
export const toolLoop: Wire = { ...stream(calls), next: further(stream(whole)) }

export const openaiResponses: Wires = {
  ...openaiChat,
  happy: stream(whole),
  'error-middle': stream([...begun, { type: 'error', code: 'server_error', message: 'The server had an error', param: null }]),
  'run-failed': stream([...begun, { type: 'response.failed', response: response('failed', { error: { code: 'server_error', message: 'The server had an error' } }) }]),
  'clean-cut': stream(begun),
  'socket-cut': stream(begun, 'cut'),
  cancel: stream(begun, 'open'),
  refusal: stream([
    ...opening, { type: 'response.output_item.added', output_index: 0, item: item('in_progress') },
    { type: 'response.content_part.added', ...place, part: { type: 'refusal', refusal: '' } },
    { type: 'response.refusal.delta', ...place, delta: 'I can\'t ' }, { type: 'response.refusal.delta', ...place, delta: 'help with that.' },
    { type: 'response.refusal.done', ...place, refusal },
    { type: 'response.output_item.done', output_index: 0, item: item('completed', [{ type: 'refusal', refusal }]) },
    { type: 'response.completed', response: response('completed', { output: [item('completed', [{ type: 'refusal', refusal }])], usage }) }
  ]),
  length: incomplete('max_output_tokens'),
  'content-filter': incomplete('content_filter'),
  'tool-calls': stream(calls),
  reasoning: stream([
    ...opening, { type: 'response.output_item.added', output_index: 0, item: { id: 'rs_1', type: 'reasoning', summary: [] } },
    { type: 'response.reasoning_summary_part.added', item_id: 'rs_1', output_index: 0, summary_index: 0, part: { type: 'summary_text', text: '' } },
    { type: 'response.reasoning_summary_text.delta', item_id: 'rs_1', output_index: 0, summary_index: 0, delta: 'They greet me.' },
    { type: 'response.reasoning_summary_text.done', item_id: 'rs_1', output_index: 0, summary_index: 0, text: 'They greet me.' },
    { type: 'response.output_item.done', output_index: 0, item: { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'They greet me.' }] } },
    ...[...message, delta('Héllo '), delta('👋'), delta(' world'), ...end('Héllo 👋 world')].map((event) => ({ ...event, output_index: 1 }))
  ]),
  'two-choices': undefined,
  empty: stream([...opening, { type: 'response.completed', response: response('completed', { usage }) }]),
  'usage-last': undefined
}
