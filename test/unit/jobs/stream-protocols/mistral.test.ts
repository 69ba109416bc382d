import t from 'tap'
import { mistral } from '../../../../lib/jobs/stream-protocols/mistral.js'
import { StreamReport } from '../../../../lib/jobs/stream-protocols/report.js'
import { TEXT } from '../../../sdks/scenario.js'
import { mistral as wires } from '../../../sdks/wires/mistral.js'
import { readChunks } from '../../../support/streams.js'

const chunk = (delta: unknown, finishReason: unknown = null, fields: object = {}): object => ({ data: { id: '7', choices: [{ index: 0, delta, finishReason }], ...fields } })

t.test('each finish reason has a meaning', async (t) => {
  const reasons = { stop: 'stop', length: 'length', model_length: 'length', tool_calls: 'tool_calls', content_filter: 'content_filter', of_the_future: 'unknown' }
  for (const [raw, reason] of Object.entries(reasons)) {
    t.match(readChunks([chunk({ content: 'a' }, raw)]), { status: 'complete', text: 'a', finishReason: reason, rawFinishReason: raw })
  }
  t.match(readChunks([chunk({ content: 'a' }, 'error')]), { status: 'error', text: 'a', type: 'api_error' })
})

t.test('the text of parts is text, and nothing else is', async (t) => {
  const parts = [
    { type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }, { type: 'text', text: 'a' }, { type: 'reference', referenceIds: [1] },
    { type: 'image_url', imageUrl: 'b' }, { type: 'UNKNOWN', raw: { text: 'b' }, isUnknown: true }, { type: 'text', text: 'c' }
  ]
  t.match(readChunks([chunk({ content: parts }), chunk({ content: '', toolCalls: [{ function: { arguments: '{}' } }] }, 'stop')]), { status: 'complete', text: 'ac' })
})

t.test('usage is told with the last chunk, and without a choice', async (t) => {
  const usage = { promptTokens: 1, completionTokens: 2, totalTokens: 3 }
  const told = { inputTokens: 1, outputTokens: 2, totalTokens: 3 }
  t.same(readChunks([chunk({}, 'stop', { usage })]).usage, told)
  t.same(readChunks([chunk({}, 'stop'), { data: { choices: [], usage } }]).usage, told)
})

t.test('the wire is OpenAI\'s', async (t) => {
  t.match(readChunks(wires.happy!.body), { status: 'complete', text: TEXT, finishReason: 'stop' })
  t.match(readChunks(wires.reasoning!.body), { status: 'complete', text: TEXT, finishReason: 'stop' })
  t.match(readChunks([{ choices: [{ delta: {}, finish_reason: 'model_length' }] }]), { finishReason: 'length', rawFinishReason: 'model_length' })
})

t.test('whatever is missing or strange does no harm', async (t) => {
  for (const odd of [undefined, null, 7, {}, [], [null], [7]]) {
    const chunks = [
      { data: odd }, { data: { choices: odd } }, { data: { choices: [odd], usage: odd } }, chunk(odd, odd), chunk({ content: odd }), chunk({ content: [odd] }),
      chunk({ content: [{ type: 'text', text: odd }] }), chunk({}, 'stop')
    ]
    t.match(readChunks(chunks), { status: 'complete', text: '', finishReason: 'stop' })
  }
  const read = mistral.open(new StreamReport())
  for (const odd of [{}, { data: null }, { data: { choices: 7 } }, { choices: [] }]) t.equal(read(odd), undefined)
})
