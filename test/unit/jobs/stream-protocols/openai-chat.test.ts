import t from 'tap'
import { readStream } from '../../../fixtures/streams/read.js'
import { readChunks } from '../../../support/streams.js'

function chunk (choice: object, fields: object = {}): object {
  return { object: 'chat.completion.chunk', choices: [{ index: 0, ...choice }], ...fields }
}

for (const name of ['openai-chat-azure', 'openai-compatible']) {
  const { about, text, chunks } = readStream(name)
  t.test(`the text of ${about}`, (t) => {
    t.match(readChunks(chunks), { status: 'complete', text })
    t.end()
  })
}

t.test('content in parts is its text parts', (t) => {
  const content = [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }, { type: 'text', text: 'a' }, null, { type: 'text' }, { type: 'text', text: 'b' }]
  t.match(readChunks([chunk({ delta: { content } })]), { text: 'ab' })
  t.end()
})

t.test('the transcript of audio is text', (t) => {
  t.match(readChunks([chunk({ delta: { audio: { id: 'a', data: 'AAAA', transcript: 'Hé' } } }), chunk({ delta: { audio: { transcript: 'llo' } } }), chunk({ delta: { audio: null } })]), { text: 'Héllo' })
  t.end()
})

t.test('gateways report failures in the choice, or beside it', (t) => {
  const error = { code: 502, message: 'Upstream failed' }
  const failed = { status: 'error', message: 'Upstream failed', type: 'api_error', text: 'a' }
  t.match(readChunks([chunk({ delta: { content: 'a' } }), chunk({ delta: {}, finish_reason: 'error', error })]), failed)
  t.match(readChunks([chunk({ delta: { content: 'a' } }), chunk({ delta: { content: '' }, finish_reason: 'error' }, { error })]), failed)
  t.match(readChunks([chunk({ delta: { content: 'a' } }), chunk({ delta: {}, error })]), failed)
  t.match(readChunks([chunk({ delta: {}, finish_reason: 'error' })]), { status: 'error', type: 'api_error', message: /ended the stream with "error"/ })
  t.match(readChunks([chunk({ delta: { content: 'a' }, error: null }, { error: null })]), { status: 'complete' })
  t.end()
})

t.test('finish reasons', (t) => {
  for (const [raw, finishReason] of Object.entries({ function_call: 'tool_calls', tool_calls: 'tool_calls', eos: 'unknown', content_filter: 'content_filter' })) {
    t.match(readChunks([chunk({ delta: {}, finish_reason: raw })]), { finishReason, rawFinishReason: raw })
  }
  t.end()
})

t.test('garbage adds no text', (t) => {
  const garbage = [
    { choices: [] }, { choices: [null, 1, {}] }, { choices: [{ delta: 'a' }] }, { choices: [{ index: 1, delta: { content: 'a' } }] }, { choices: 'a' },
    chunk({ delta: { content: 7, refusal: 7 } }), chunk({ delta: { refusal: '' } }), chunk({ delta: { audio: 'a' } }), chunk({ text: 7 }), chunk({}, { usage: null, x_groq: null }), {}
  ]
  t.match(readChunks(garbage), { status: 'complete', text: '', finishReason: 'unknown' })
  t.end()
})

t.test('several completions in a stream are one text, and their tokens are summed', (t) => {
  const usage = (prompt_tokens: number): object => ({ usage: { prompt_tokens, completion_tokens: 2, total_tokens: prompt_tokens + 2 } })
  const first = [chunk({ delta: { content: 'a' } }, { id: 'c1' }), chunk({ delta: {}, finish_reason: 'tool_calls' }, { id: 'c1' }), { id: 'c1', choices: [], ...usage(3) }]
  const second = [chunk({ delta: { content: 'b' } }, { id: 'c2' }), chunk({ delta: {}, finish_reason: 'stop' }, { id: 'c2' }), { id: 'c2', choices: [], ...usage(4) }]
  const ended = { status: 'complete', text: 'ab', finishReason: 'stop', rawFinishReason: 'stop', usage: { inputTokens: 7, outputTokens: 4, totalTokens: 11 } }
  t.same(readChunks([...first, ...second]), ended)
  t.match(readChunks([...first, second[0]]), { text: 'ab', finishReason: 'unknown' }, 'the last one was cut')
  const strange = [...first, ...second].map((each, at) => ({ ...each, id: at < 3 ? 'c1' : `x${at}` }))
  t.same(readChunks(strange), ended, 'each chunk has an id of its own')
  t.match(readChunks([...first, { ...chunk({ delta: {} }), id: '' }]), { finishReason: 'tool_calls' }, 'a chunk about the content that follows it, without an id')
  t.end()
})
