import t from 'tap'
import { ollama } from '../../../../lib/jobs/stream-protocols/ollama.js'
import { StreamReport } from '../../../../lib/jobs/stream-protocols/report.js'
import { TEXT } from '../../../sdks/scenario.js'
import { ollamaChat, ollamaGenerate } from '../../../sdks/wires/ollama.js'
import { readChunks } from '../../../support/streams.js'

const chat = (message: unknown, fields: object = { done: false }): object => ({ model: 'qwen3', message, ...fields })
const end = (done_reason?: unknown, fields: object = {}): object => chat({ content: '' }, { done: true, done_reason, ...fields })

t.test('each reason to be done has a meaning', async (t) => {
  const reasons = { stop: 'stop', length: 'length', load: 'unknown', unload: 'unknown', of_the_future: 'unknown' }
  for (const [raw, reason] of Object.entries(reasons)) {
    t.match(readChunks([chat({ content: 'a' }), end(raw)]), { status: 'complete', text: 'a', finishReason: reason, rawFinishReason: raw })
  }
  const older = readChunks([chat({ content: 'a' }), end()])
  t.match(older, { status: 'complete', text: 'a', finishReason: 'unknown' }, 'older servers give none')
  t.equal(older.rawFinishReason, undefined)
})

t.test('the text of both endpoints is text, that of the last chunk too', async (t) => {
  t.equal(readChunks([chat({ content: 'a', thinking: 'hm' }), chat({ content: 'b' }, { done: true })]).text, 'ab')
  t.equal(readChunks([{ model: 'm', response: 'a', done: false }, { model: 'm', response: 'b', thinking: 'hm', done: true }]).text, 'ab')
  t.match(readChunks([{ model: 'm', completed: 1, total: 2, done: false }, { model: 'm', image: 'YQ==', done: true }]), { status: 'complete', text: '' })
})

t.test('several answers in a stream are one text, and their tokens are summed', async (t) => {
  const counts = { prompt_eval_count: 1, eval_count: 2 }
  const chunks = [
    chat({ content: 'a' }), chat({ content: '', tool_calls: [{ function: { name: 'find' } }] }), end('stop', counts), chat({ content: 'b' }), end('stop', counts)
  ]
  t.same(readChunks(chunks), {
    status: 'complete', text: 'ab', finishReason: 'stop', rawFinishReason: 'stop', usage: { inputTokens: 2, outputTokens: 4 }
  })
  t.match(readChunks(chunks.slice(0, 3)), { finishReason: 'tool_calls', rawFinishReason: 'stop' })
  t.match(readChunks(chunks.slice(0, 4)), { status: 'error', text: 'ab', type: 'incomplete' })
})

t.test('the lines of the wire are read, errors too', async (t) => {
  for (const wires of [ollamaChat, ollamaGenerate]) {
    t.match(readChunks(wires.happy!.body), { status: 'complete', text: TEXT, finishReason: 'stop', usage: { inputTokens: 9, outputTokens: 5 } })
    t.match(readChunks(wires['error-middle']!.body), { status: 'error', text: 'Héllo ', message: 'The server had an error' })
    t.match(readChunks(wires['clean-cut']!.body), { status: 'error', text: 'Héllo ', type: 'incomplete' })
  }
})

t.test('whatever is missing or strange does no harm', async (t) => {
  for (const odd of [undefined, null, 7, {}, [], [null]]) {
    const chunks = [
      chat(odd), chat({ content: odd, tool_calls: odd }), chat({}, { done: odd, message: odd }), { model: odd, response: odd, done: false },
      chat({}, { done: true, done_reason: odd, prompt_eval_count: odd })
    ]
    t.match(readChunks(chunks), { status: 'complete', text: '' })
  }
  const read = ollama.open(new StreamReport())
  for (const odd of [{}, { done: 'yes' }, { error: 'broken' }]) t.equal(read(odd), undefined)
})
