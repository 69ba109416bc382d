import t from 'tap'
import { readStream } from '../../../fixtures/streams/read.js'
import { readChunks } from '../../../support/streams.js'

const HELLO = [{ type: 'start' }, { type: 'start-step' }, { type: 'text-start', id: '0' }, { type: 'text-delta', id: '0', text: 'Hé' }]
const CLOSED = [...HELLO, { type: 'text-end', id: '0' }, { type: 'finish-step', finishReason: 'stop', usage: { inputTokens: 1 } }]

t.test('the older recordings are still read', async (t) => {
  const rows: Array<[name: string, end: object]> = [
    ['ai-sdk-4', { status: 'complete', finishReason: 'stop', usage: { inputTokens: 9, outputTokens: 4, totalTokens: 13 } }],
    ['ai-sdk-5', { status: 'complete', finishReason: 'stop', usage: { inputTokens: 9, outputTokens: 4, totalTokens: 13 } }],
    ['ai-sdk-5-ui', { status: 'complete', finishReason: 'unknown' }],
    ['ai-sdk-5-error', { status: 'error', message: 'Overloaded', type: 'overloaded_error' }],
    ['ai-sdk-5-ui-error', { status: 'error', message: 'An error occurred.' }],
    ['ai-sdk-5-abort', { status: 'error', type: 'cancelled' }]
  ]
  for (const [name, end] of rows) {
    const { about, text, chunks } = readStream(name)
    t.match(readChunks(chunks), { text, ...end }, about)
  }
})

t.test('why a run finished, in the words of the SDK and of its provider', async (t) => {
  const rows: Array<[finish: object, end: object]> = [
    [{ finishReason: 'stop', rawFinishReason: 'end_turn' }, { status: 'complete', finishReason: 'stop', rawFinishReason: 'end_turn' }],
    [{ finishReason: 'content-filter', rawFinishReason: 'refusal' }, { status: 'complete', finishReason: 'refusal', rawFinishReason: 'refusal' }],
    [{ finishReason: 'content-filter', rawFinishReason: 'stop' }, { status: 'complete', finishReason: 'refusal', rawFinishReason: 'stop' }],
    [{ finishReason: 'content-filter', rawFinishReason: undefined }, { status: 'complete', finishReason: 'refusal', rawFinishReason: 'content-filter' }],
    [{ finishReason: 'content-filter' }, { status: 'complete', finishReason: 'content_filter', rawFinishReason: 'content-filter' }],
    [{ finishReason: 'content-filter', rawFinishReason: 'SAFETY' }, { status: 'complete', finishReason: 'content_filter', rawFinishReason: 'SAFETY' }],
    [{ finishReason: 'other', rawFinishReason: 'pause_turn' }, { status: 'complete', finishReason: 'pause', rawFinishReason: 'pause_turn' }],
    [{ finishReason: 'other' }, { status: 'complete', finishReason: 'unknown', rawFinishReason: 'other' }],
    [{ finishReason: 'stop', rawFinishReason: 7 }, { status: 'complete', finishReason: 'stop', rawFinishReason: 'stop' }],
    [{}, { status: 'complete', finishReason: 'unknown' }],
    [{ finishReason: 'error' }, { status: 'error', type: 'api_error' }],
    [{ finishReason: 'interrupted' }, { status: 'error', type: 'incomplete' }]
  ]
  for (const [finish, end] of rows) t.match(readChunks([...CLOSED, { type: 'finish', ...finish }]), { text: 'Hé', ...end }, JSON.stringify(finish))
})

t.test('the usage of the whole run is told', async (t) => {
  const totalUsage = { inputTokens: 9, outputTokens: 5, totalTokens: 14, outputTokenDetails: { reasoningTokens: 3 } }
  t.same(readChunks([...CLOSED, { type: 'finish', finishReason: 'stop', totalUsage }]).usage, { inputTokens: 9, outputTokens: 5, totalTokens: 14 })
  const object = [{ type: 'object', object: {} }, { type: 'text-delta', textDelta: '{}' }, { type: 'finish', finishReason: 'stop', usage: totalUsage }]
  t.match(readChunks(object), { text: '{}', usage: { inputTokens: 9 } }, 'streamObject')
})

t.test('an abort that a timeout made is a timeout', async (t) => {
  const aborted = (reason?: unknown): object => readChunks([...HELLO, { type: 'abort', ...(reason !== undefined && { reason }) }])
  t.match(aborted('The operation was aborted due to timeout'), { type: 'timeout_error' })
  t.match(aborted('TimeoutError: The operation was aborted due to timeout'), { message: 'The operation was aborted due to timeout', type: 'timeout_error' })
  t.match(aborted('Step timeout of 10ms exceeded'), { type: 'timeout_error' })
  t.match(aborted('the person left'), { message: 'the person left', type: 'cancelled' })
  for (const reason of [undefined, '', 7, null]) t.match(aborted(reason), { message: 'cancelled', type: 'cancelled' })
})

t.test('a tool that failed is no failure of the run, and nothing but text is text', async (t) => {
  const others = [
    { type: 'tool-error', toolCallId: '1', error: new Error('no such city') }, { type: 'tool-output-error', toolCallId: '1', errorText: 'no such city' },
    { type: 'tool-input-error', toolCallId: '1', errorText: 'no such tool' }, { type: 'data-error', data: 'x' }, { type: 'ping' }, { type: 'custom', kind: 'a.b' },
    { type: 'reasoning-delta', id: '1', text: 'x' }, { type: 'reasoning-delta', id: '1', delta: 'x' }, { type: 'reasoning', textDelta: 'x' }, { type: 'source', url: 'x' },
    { type: 'file', file: {} }, { type: 'raw', rawValue: { error: { message: 'x' } } }, { type: 'tool-input-delta', delta: '{"a":1}' },
    { type: 'message-metadata', messageMetadata: {} }, { type: 'steering-message', message: { content: 'x' } }, { type: 'reset-step' }, {}, { type: 7 }, { text: 'x' }
  ]
  t.match(readChunks([...CLOSED, ...others, { type: 'finish', finishReason: 'stop' }]), { status: 'complete', text: 'Hé', finishReason: 'stop' })
})

t.test('a chunk that reports a failure makes the run fail', async (t) => {
  const slowDown = Object.assign(new Error('Slow down'), { statusCode: 429 })
  const retryError = Object.assign(new Error('Failed after 2 attempts. Last error: Slow down'), { name: 'AI_RetryError', errors: [slowDown, slowDown], lastError: slowDown })
  const errors: Array<[chunk: object, end: object]> = [
    [{ type: 'error', error: slowDown }, { message: 'Slow down', type: 'rate_limit_error' }],
    [{ type: 'error', error: retryError }, { message: 'Slow down', type: 'rate_limit_error' }],
    [{ type: 'error', error: 'text part 0 not found' }, { message: 'text part 0 not found' }],
    [{ type: 'error', errorText: 'An error occurred.' }, { message: 'An error occurred.' }],
    [{ type: 'error' }, { message: 'unknown error' }],
    [{ error: { message: 'Overloaded', type: 'overloaded_error' } }, { type: 'overloaded_error' }]
  ]
  for (const [chunk, end] of errors) {
    t.match(readChunks([...HELLO, chunk, { type: 'finish', finishReason: 'error' }]), { status: 'error', text: 'Hé', ...end })
  }
  t.match(readChunks([{ type: 'error', errorText: 'An error occurred.' }, { type: 'finish' }]), { status: 'error', message: 'An error occurred.' }, 'the first chunk')
})

t.test('a stream that was cut is incomplete, also where the app writes it by itself', async (t) => {
  for (let length = 1; length < CLOSED.length; length++) t.match(readChunks(CLOSED.slice(0, length)), { status: 'error', type: 'incomplete' }, `after ${length} chunks`)
  const own = [{ type: 'text-start', id: '0' }, { type: 'text-delta', id: '0', delta: 'Hé' }, { type: 'text-end', id: '0' }]
  t.match(readChunks(own), { status: 'complete', text: 'Hé', finishReason: 'unknown' }, 'it needs no finish')
  t.match(readChunks([...own, ...own.slice(0, 2)]), { status: 'error', text: 'HéHé', type: 'incomplete' })
})

t.test('garbage never throws', async (t) => {
  const values = [undefined, null, 7, '', [], {}, Symbol('x'), () => undefined]
  for (const type of ['text-delta', 'finish', 'abort', 'error', 'start', 'finish-step']) {
    for (const value of values) {
      const fields = Object.fromEntries(['text', 'delta', 'finishReason', 'rawFinishReason', 'totalUsage', 'usage', 'reason', 'error', 'errorText'].map((name) => [name, value]))
      t.type(readChunks([{ type: 'start' }, { type, ...fields }]).status, 'string')
    }
  }
})
