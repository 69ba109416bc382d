import t from 'tap'
import { readChunks } from '../../../support/streams.js'

const raw = (data: unknown): object => ({ type: 'raw_model_stream_event', data })
const started = raw({ type: 'response_started' })
const delta = (text: string): object => raw({ type: 'output_text_delta', delta: text })
const provider = (event: unknown): object => raw({ type: 'model', event })
const chat = (delta: object, finish_reason?: string): object => provider({ choices: [{ index: 0, delta, finish_reason }] })
const message = (...content: unknown[]): object => ({ type: 'message', role: 'assistant', content })
const done = (usage: unknown, ...output: unknown[]): object => raw({ type: 'response_done', response: { id: 'r', usage, output } })
const usage = { inputTokens: 9, outputTokens: 5, totalTokens: 14 }
const zero = { inputTokens: 0, outputTokens: 0, totalTokens: 0 }

t.test('the text of a model is text once', (t) => {
  const item = { type: 'run_item_stream_event', name: 'message_output_created', item: { rawItem: message({ type: 'output_text', text: 'ab' }) } }
  const updated = { type: 'agent_updated_stream_event', agent: { name: 'Writer' } }
  const own = [updated, started, delta('a'), delta('b'), done(usage, message({ type: 'output_text', text: 'ab' })), item]
  t.same(readChunks(own), { status: 'complete', text: 'ab', finishReason: 'unknown', usage })
  const known = [started, chat({ content: 'a' }), delta('a'), chat({ content: 'b' }, 'length'), delta('b'), done(zero, message({ type: 'output_text', text: 'ab' })), item]
  t.same(readChunks(known), { status: 'complete', text: 'ab', finishReason: 'length', rawFinishReason: 'length' }, 'with the provider\'s events too')
  t.end()
})

t.test('a model that does not stream has its text in the last event', (t) => {
  const output = [{ type: 'reasoning', content: [{ type: 'reasoning_text', text: 'hm' }] }, message({ type: 'output_text', text: 'a' }, null, { type: 'refusal', refusal: 'b' }), { type: 'function_call', arguments: '{}' }]
  t.same(readChunks([started, done(usage, ...output)]), { status: 'complete', text: 'ab', finishReason: 'refusal', usage })
  t.end()
})

t.test('several calls: the last one\'s end and the sum of their usage count', (t) => {
  const first = [started, chat({ content: 'a' }, 'tool_calls'), done(usage)]
  t.same(readChunks([...first, started, chat({ content: 'b' }, 'stop'), done(usage)]), {
    status: 'complete', text: 'ab', finishReason: 'stop', rawFinishReason: 'stop', usage: { inputTokens: 18, outputTokens: 10, totalTokens: 28 }
  })
  t.match(readChunks([...first, started, chat({ content: 'b' })]), { status: 'error', text: 'ab', type: 'incomplete' }, 'an abort ends the stream quietly')
  t.end()
})

t.test('failures, refusals and a run that waits for a person', (t) => {
  const response = (type: string, fields: object): object => provider({ type: `response.${type}`, ...fields })
  t.match(readChunks([started, response('failed', { response: { error: { code: 'server_error', message: 'Broken' } } })]), { status: 'error', message: 'Broken', type: 'api_error' })
  t.match(readChunks([started, response('refusal.delta', { delta: 'No.' }), done(usage)]), { text: 'No.', finishReason: 'refusal' })
  t.match(readChunks([started, chat({}, 'tool_calls'), done(usage), { type: 'run_item_stream_event', name: 'tool_approval_requested' }]), { status: 'complete', finishReason: 'pause' })
  t.match(readChunks([started, { type: 'error', message: 'Broken' }]), { status: 'error', message: 'Broken' })
  t.end()
})

t.test('garbage adds no text', (t) => {
  const garbage = [
    raw(null), raw(7), raw({}), raw({ type: 'model' }), provider(null), provider(7), provider({ type: 'text-delta', delta: 'x' }), raw({ type: 'output_text_delta' }),
    raw({ type: 'response_done' }), raw({ type: 'response_done', response: { usage: 7, output: [null, 7, { content: [null] }, { content: 7 }] } }), { type: 'run_item_stream_event' }
  ]
  t.equal(readChunks([started, delta('a'), ...garbage]).text, 'a')
  t.end()
})
