import t from 'tap'
import { cohere } from '../../../../lib/jobs/stream-protocols/cohere.js'
import { StreamReport } from '../../../../lib/jobs/stream-protocols/report.js'
import { TEXT } from '../../../sdks/scenario.js'
import { cohere as wires } from '../../../sdks/wires/cohere.js'
import { readChunks } from '../../../support/streams.js'

const start = { type: 'message-start', id: '1' }
const content = (type: string, content: unknown): object => ({ type, index: 0, delta: { message: { content } } })
const end = (finishReason: unknown, fields: object = {}): object => ({ type: 'message-end', delta: { finishReason, ...fields } })

t.test('each finish reason has a meaning', async (t) => {
  const reasons = { COMPLETE: 'stop', STOP_SEQUENCE: 'stop', MAX_TOKENS: 'length', TOOL_CALL: 'tool_calls', OF_THE_FUTURE: 'unknown' }
  for (const [raw, reason] of Object.entries(reasons)) {
    t.match(readChunks([start, end(raw)]), { status: 'complete', finishReason: reason, rawFinishReason: raw })
  }
  t.match(readChunks([start, end('ERROR')]), { status: 'error', type: 'api_error', message: 'the model\'s provider ended the stream with "ERROR"' })
  t.match(readChunks([start, end('ERROR', { error: 'Broken' })]), { status: 'error', type: 'api_error', message: 'Broken' })
  t.match(readChunks([start, end('TIMEOUT')]), { status: 'error', type: 'timeout_error', message: 'the model took too long', retryable: true })
  t.match(readChunks([start, end('COMPLETE', { error: 'Broken' })]), { status: 'error', type: 'api_error', message: 'Broken' }, 'whatever the reason says')
})

t.test('text is text from its first event on, and nothing else is', async (t) => {
  const chunks = [
    start, content('content-start', { type: 'thinking', thinking: 'hm' }), content('content-delta', { thinking: 'hm' }), content('content-start', { type: 'text', text: 'a' }),
    content('content-delta', { text: 'b' }), { type: 'content-end' }, { type: 'tool-plan-delta', delta: { message: { toolPlan: 'c' } } },
    { type: 'tool-call-start', delta: { message: { toolCalls: { function: { name: 'c' } } } } }, { type: 'citation-start', delta: { message: { citations: { text: 'c' } } } },
    { type: 'debug', prompt: 'c' }, end('COMPLETE')
  ]
  t.match(readChunks(chunks), { status: 'complete', text: 'ab', finishReason: 'stop' })
})

t.test('billed tokens count where no others are told', async (t) => {
  const billedUnits = { inputTokens: 1, outputTokens: 2 }
  t.same(readChunks([start, end('COMPLETE', { usage: { billedUnits } })]).usage, { inputTokens: 1, outputTokens: 2 })
  t.same(readChunks([start, end('COMPLETE', { usage: { billed_units: { input_tokens: 1, output_tokens: 2 } } })]).usage, { inputTokens: 1, outputTokens: 2 })
  t.same(readChunks([start, end('COMPLETE', { usage: { billedUnits, tokens: { inputTokens: 4, outputTokens: 8 } } })]).usage, { inputTokens: 4, outputTokens: 8 })
  t.equal(readChunks([start, end('COMPLETE', {})]).usage, undefined)
})

t.test('several messages in a stream are one text, and their tokens are summed', async (t) => {
  const message = (text: string, reason: string): object[] =>
    [start, content('content-delta', { text }), end(reason, { usage: { tokens: { inputTokens: 1, outputTokens: 2 } } })]
  const chunks = [...message('a', 'TOOL_CALL'), ...message('b', 'COMPLETE')]
  t.match(readChunks(chunks), { status: 'complete', text: 'ab', finishReason: 'stop', usage: { inputTokens: 2, outputTokens: 4 } })
  t.match(readChunks(chunks.slice(0, -1)), { status: 'error', text: 'ab', type: 'incomplete' })
})

t.test('the events of the wire are read', async (t) => {
  t.match(readChunks(wires.happy!.body), { status: 'complete', text: TEXT, finishReason: 'stop', rawFinishReason: 'COMPLETE', usage: { inputTokens: 9, outputTokens: 5 } })
  t.match(readChunks(wires['run-failed']!.body), { status: 'error', text: 'Héllo ', type: 'api_error', message: 'The server had an error' })
})

t.test('whatever is missing or strange does no harm', async (t) => {
  for (const odd of [undefined, null, 7, {}, [], [null]]) {
    const types = ['message-start', 'content-start', 'content-delta', 'content-end', 'tool-plan-delta', 'citation-start', 'citation-end', 'message-end']
    const chunks = types.flatMap((type) => [
      { type, delta: odd }, { type, delta: { message: odd, finishReason: odd, error: odd, usage: odd } }, { type, delta: { message: { content: odd }, usage: { tokens: odd } } },
      { type, delta: { message: { content: { text: odd } }, usage: { tokens: { inputTokens: odd } } } }
    ])
    t.match(readChunks(chunks), { status: 'complete', text: '' })
  }
  const read = cohere.open(new StreamReport())
  for (const type of [undefined, null, 7, 'tool-call-delta', 'error']) t.equal(read({ type }), undefined)
})
