import t from 'tap'
import { anthropicMessages } from '../../../../lib/jobs/stream-protocols/anthropic-messages.js'
import { StreamReport } from '../../../../lib/jobs/stream-protocols/report.js'
import { anthropicMessages as wires } from '../../../sdks/wires/anthropic-messages.js'
import { readStream } from '../../../fixtures/streams/read.js'
import { TEXT } from '../../../sdks/scenario.js'
import { readChunks } from '../../../support/streams.js'

const start = (usage: object = {}): object => ({ type: 'message_start', message: { usage } })
const delta = (stop_reason: unknown, usage?: object, stop_details?: object): object => ({ type: 'message_delta', delta: { stop_reason, stop_details }, usage })
const text = (text: unknown): object => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })
const stop = { type: 'message_stop' }

t.test('streams that were recorded before are read', async (t) => {
  const { chunks, text } = readStream('anthropic-messages')
  t.same(readChunks(chunks), {
    status: 'complete', text, finishReason: 'tool_calls', rawFinishReason: 'tool_use', usage: { inputTokens: 10, outputTokens: 20 }
  })
  const failed = readStream('anthropic-error')
  t.match(readChunks(failed.chunks), { status: 'error', text: failed.text, type: 'overloaded_error', message: 'Overloaded' })
})

t.test('each reason to stop has a meaning', async (t) => {
  const reasons = {
    end_turn: 'stop', stop_sequence: 'stop', max_tokens: 'length', model_context_window_exceeded: 'length', tool_use: 'tool_calls', pause_turn: 'pause',
    compaction: 'pause', refusal: 'refusal', of_the_future: 'unknown'
  }
  for (const [raw, reason] of Object.entries(reasons)) {
    t.match(readChunks([start(), delta(raw), stop]), { status: 'complete', finishReason: reason, rawFinishReason: raw })
  }
})

t.test('the text of a block\'s first event is text', async (t) => {
  t.equal(readChunks([{ type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'a' } }, text('b'), stop]).text, 'ab')
})

t.test('what is not for the reader is no text', async (t) => {
  const deltas = [
    { type: 'thinking_delta', thinking: 'a', text: 'a' }, { type: 'input_json_delta', partial_json: '{}' }, { type: 'compaction_delta', content: 'a' },
    { type: 'citations_delta', citation: { cited_text: 'a' } }, { type: 'signature_delta', signature: 'a' }
  ].map((delta) => ({ type: 'content_block_delta', index: 0, delta }))
  const blocks = [
    { type: 'thinking', thinking: 'a' }, { type: 'compaction', content: 'a' }, { type: 'tool_use', input: {} }, { type: 'fallback' },
    { type: 'web_search_tool_result', content: { type: 'web_search_tool_result_error', error_code: 'unavailable' } }
  ].map((content_block) => ({ type: 'content_block_start', index: 0, content_block }))
  t.match(readChunks([start(), ...blocks, ...deltas, { type: 'content_block_stop', index: 0 }, delta('end_turn'), stop]), { status: 'complete', text: '' })
})

t.test('why the provider refused follows what the model had written', async (t) => {
  const refusal = delta('refusal', {}, { type: 'refusal', category: 'cyber', explanation: 'Not this.' })
  t.match(readChunks([start(), refusal, stop]), { text: 'Not this.', finishReason: 'refusal' })
  t.match(readChunks([start(), text('Well, '), refusal, stop]), { text: 'Well, \n\nNot this.', finishReason: 'refusal' })
  t.match(readChunks([start(), text('No.'), delta('refusal', {}, { type: 'refusal', explanation: null }), stop]), { text: 'No.', finishReason: 'refusal' })
})

t.test('later counts replace earlier ones, and tokens of the cache are input', async (t) => {
  const usage = { input_tokens: 1, cache_creation_input_tokens: 2, cache_read_input_tokens: 4, output_tokens: 1 }
  t.same(readChunks([start(usage), delta('end_turn', { output_tokens: 5 }), stop]).usage, { inputTokens: 7, outputTokens: 5 })
  const later = { input_tokens: 10, cache_creation_input_tokens: null, cache_read_input_tokens: 8, output_tokens: 5 }
  t.same(readChunks([start(usage), delta(null, { output_tokens: 2 }), delta('end_turn', later), stop]).usage, { inputTokens: 20, outputTokens: 5 })
  t.same(readChunks([start({ input_tokens: 3, cache_read_input_tokens: null }), delta('end_turn', {}), stop]).usage, { inputTokens: 3 })
  t.equal(readChunks([start(), delta('end_turn'), stop]).usage, undefined)
})

t.test('several messages in a stream are one text, and their tokens are summed', async (t) => {
  const first = [start({ input_tokens: 1, output_tokens: 1 }), text('a'), delta('tool_use', { output_tokens: 2 }), stop]
  const second = [start({ input_tokens: 4 }), text('b'), delta('end_turn', { output_tokens: 8 }), stop]
  t.same(readChunks([...first, ...second]), {
    status: 'complete', text: 'ab', finishReason: 'stop', rawFinishReason: 'end_turn', usage: { inputTokens: 5, outputTokens: 10 }
  })
  t.match(readChunks([...first, ...second.slice(0, -1)]), { status: 'error', type: 'incomplete' }, 'the last one was cut')
})

t.test('the events of the wire are read, whatever their packets', async (t) => {
  for (const scenario of ['happy', 'reasoning'] as const) {
    const wire = wires[scenario]!.body.join('')
    for (const cut of [1, 7, 100]) {
      const packets = Array.from({ length: Math.ceil(wire.length / cut) }, (_, at) => wire.slice(at * cut, (at + 1) * cut))
      t.match(readChunks(packets), { status: 'complete', text: TEXT, finishReason: 'stop', usage: { inputTokens: 9, outputTokens: 5 } })
    }
  }
  t.match(readChunks(wires['error-middle']!.body), { status: 'error', text: 'Héllo ', type: 'api_error', message: 'The server had an error' })
  t.match(readChunks(wires['clean-cut']!.body), { status: 'error', text: 'Héllo ', type: 'incomplete' })
})

t.test('whatever is missing or strange does no harm', async (t) => {
  const strange = [undefined, null, 7, 'a', [], {}, { type: 7 }, { usage: 7 }]
  const events = ['message_start', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop', 'ping']
  for (const odd of strange) {
    const chunks = events.flatMap((type) => [
      { type, message: odd, content_block: odd, delta: odd, usage: odd }, { type, message: { usage: odd }, content_block: { type: 'text', text: odd === 'a' ? 7 : odd } },
      { type, delta: { type: 'text_delta', text: odd === 'a' ? 7 : odd, stop_reason: odd === 'a' ? 7 : odd, stop_details: odd } }
    ])
    t.match(readChunks([...chunks, stop]), { status: 'complete', text: '' })
  }
  const read = anthropicMessages.open(new StreamReport())
  for (const type of [undefined, null, 7, 'ping', 'error', 'message_future']) t.equal(read({ type }), undefined)
})
