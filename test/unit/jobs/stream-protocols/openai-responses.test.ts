import t from 'tap'
import { readStream } from '../../../fixtures/streams/read.js'
import { readChunks } from '../../../support/streams.js'

const completed = (response: object): object => ({ type: 'response.completed', response: { status: 'completed', ...response } })

t.test('recorded responses', (t) => {
  const tools = readStream('openai-responses-tools')
  t.match(readChunks(tools.chunks), { status: 'complete', text: tools.text, finishReason: 'stop' })
  const failed = readStream('openai-responses-failed')
  t.match(readChunks(failed.chunks), { status: 'error', text: failed.text, message: 'The model failed to answer', type: 'api_error' })
  t.match(readChunks(readStream('openai-responses-error').chunks), { status: 'error', message: 'Rate limit reached', type: 'rate_limit_error' })
  t.end()
})

t.test('transcripts of audio and text in a first block are text', (t) => {
  const chunks = [
    { type: 'response.content_part.added', item_id: 'm', part: { type: 'output_text', text: 'a' } },
    { type: 'response.content_part.added', part: { type: 'reasoning_text', text: 'hm' } },
    { type: 'response.audio.transcript.delta', delta: 'b' },
    completed({})
  ]
  t.match(readChunks(chunks), { status: 'complete', text: 'ab' })
  t.end()
})

t.test('the status of the response tells how it ended', (t) => {
  const failed = { status: 'error', type: 'api_error', message: /ended the stream with "failed"/ }
  t.match(readChunks([{ type: 'response.failed', response: { error: null } }]), failed)
  t.match(readChunks([completed({ status: 'failed' })]), failed)
  t.match(readChunks([completed({ status: 'cancelled' })]), { status: 'error', type: 'cancelled' })
  t.match(readChunks([{ type: 'response.cancelled', response: {} }]), { status: 'error', type: 'cancelled' })
  t.match(readChunks([completed({ status: undefined })]), { status: 'complete', finishReason: 'stop', rawFinishReason: 'completed' })
  t.match(readChunks([{ type: 'response.incomplete', response: {} }]), { status: 'complete', finishReason: 'unknown', rawFinishReason: 'incomplete' })
  t.match(readChunks([{ type: 'response.incomplete', response: { incomplete_details: { reason: 'steered' } } }]), { finishReason: 'pause' })
  t.end()
})

t.test('tools of the provider\'s own are no calls that the app must answer', (t) => {
  t.match(readChunks([completed({ output: [{ type: 'web_search_call' }, { type: 'message' }] })]), { finishReason: 'stop' })
  t.match(readChunks([completed({ output: [{ type: 'message' }, { type: 'custom_tool_call' }] })]), { finishReason: 'tool_calls' })
  t.end()
})

t.test('a policy that blocks a response gives its error a type', (t) => {
  const blocked = (code: string): object => ({ type: 'response.failed', response: { error: { code, message: 'Blocked' } } })
  t.match(readChunks([blocked('bio_policy')]), { type: 'content_filter', retryable: false })
  t.match(readChunks([blocked('invalid_prompt')]), { type: 'invalid_request_error', retryable: false })
  t.end()
})

t.test('garbage adds no text', (t) => {
  const garbage = [
    { type: 'response.output_text.delta' }, { type: 'response.output_text.delta', delta: {} }, { type: 'response.content_part.added' }, { type: 'response.refusal.delta', delta: null },
    { type: 'keepalive' }, {}, { type: 'response.new_thing', delta: 'a' }, { type: 'response.completed' }
  ]
  t.match(readChunks(garbage), { status: 'complete', text: '' })
  t.end()
})

t.test('several responses in a stream are one text, and their tokens are summed', (t) => {
  const created = { type: 'response.created', response: { status: 'in_progress' } }
  const text = { type: 'response.output_text.delta', item_id: 'm', delta: 'a' }
  const usage = { input_tokens: 1, output_tokens: 2, total_tokens: 3 }
  const first = [created, text, completed({ usage })]
  t.match(readChunks([...first, ...first]), { status: 'complete', text: 'aa', finishReason: 'stop', usage: { inputTokens: 2, outputTokens: 4, totalTokens: 6 } })
  t.match(readChunks([...first, created, text]), { status: 'error', type: 'incomplete', text: 'aa' }, 'the last one was cut')
  t.end()
})
