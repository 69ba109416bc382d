import t from 'tap'
import { googleGenai } from '../../../../lib/jobs/stream-protocols/google-genai.js'
import { StreamReport } from '../../../../lib/jobs/stream-protocols/report.js'
import { TEXT } from '../../../sdks/scenario.js'
import { googleGenai as wires } from '../../../sdks/wires/google-genai.js'
import { readChunks } from '../../../support/streams.js'

const chunk = (parts: unknown, fields: object = {}, others: object = {}): object => ({ candidates: [{ content: { role: 'model', parts }, ...fields }], ...others })
const end = (finishReason: unknown, others: object = {}): object => chunk([], { finishReason }, others)

t.test('each finish reason has a meaning', async (t) => {
  const reasons = {
    STOP: 'stop', MAX_TOKENS: 'length', CONTINUATION: 'pause', FINISH_REASON_UNSPECIFIED: 'unknown', OTHER: 'unknown', IMAGE_OTHER: 'unknown', OF_THE_FUTURE: 'unknown',
    SAFETY: 'content_filter', RECITATION: 'content_filter', LANGUAGE: 'content_filter', BLOCKLIST: 'content_filter', PROHIBITED_CONTENT: 'content_filter',
    SPII: 'content_filter', IMAGE_SAFETY: 'content_filter', IMAGE_PROHIBITED_CONTENT: 'content_filter', IMAGE_RECITATION: 'content_filter', ESCALATION: 'content_filter',
    MODEL_ARMOR: 'content_filter'
  }
  for (const [raw, reason] of Object.entries(reasons)) {
    t.match(readChunks([chunk([{ text: 'a' }]), end(raw)]), { status: 'complete', text: 'a', finishReason: reason, rawFinishReason: raw })
  }
  const errors = ['MALFORMED_FUNCTION_CALL', 'MALFORMED_RESPONSE', 'UNEXPECTED_TOOL_CALL', 'TOO_MANY_TOOL_CALLS', 'MISSING_THOUGHT_SIGNATURE', 'NO_IMAGE']
  for (const raw of errors) {
    t.match(readChunks([chunk([{ text: 'a' }]), end(raw)]), { status: 'error', text: 'a', type: 'api_error', message: `the model's provider ended the stream with "${raw}"` })
  }
  t.match(readChunks([chunk([], { finishReason: 'NO_IMAGE', finishMessage: 'No image came.' })]), { message: 'No image came.' })
  t.match(readChunks([end('PUP_LIMITED_DISABLED')]), { status: 'error', type: 'permission_error', retryable: false })
})

t.test('a prompt that was blocked is a failure', async (t) => {
  for (const blockReason of ['SAFETY', 'OTHER', 'BLOCKLIST', 'PROHIBITED_CONTENT', 'IMAGE_SAFETY', 'MODEL_ARMOR', 'JAILBREAK', 'BLOCKED_REASON_UNSPECIFIED']) {
    const message = `the model's provider blocked the prompt: ${blockReason}`
    t.match(readChunks([{ promptFeedback: { blockReason } }]), { status: 'error', text: '', type: 'content_filter', message, retryable: false })
  }
  t.match(readChunks([{ promptFeedback: { blockReason: 'SAFETY', blockReasonMessage: 'Not this.' } }]), { type: 'content_filter', message: 'Not this.' })
  t.match(readChunks([{ promptFeedback: { safetyRatings: [] } }, end('STOP')]), { status: 'complete' })
  t.match(readChunks([{ promptFeedback: { blockReason: '' } }, end('STOP')]), { status: 'complete' })
})

t.test('the text of several parts and transcripts are text, what is not for the reader is none', async (t) => {
  const parts = [
    { text: 'a' }, { text: 'hm', thought: true }, { executableCode: { code: 'b', language: 'PYTHON' } }, { codeExecutionResult: { output: 'b' } }, { text: 'c' },
    { audioTranscription: { text: 'd' } }, { functionResponse: { response: { output: 'b' } } }, { inlineData: { data: 'YQ==' } }, { toolCall: {} }
  ]
  t.match(readChunks([chunk(parts), end('STOP')]), { status: 'complete', text: 'acd' })
})

t.test('functions that the SDK calls by itself make several responses one text', async (t) => {
  const usage = (prompt: number, candidates: number): object => ({ promptTokenCount: prompt, candidatesTokenCount: candidates, totalTokenCount: prompt + candidates })
  const chunks = [
    chunk([{ text: 'Let me see. ' }], {}, { responseId: 'a', usageMetadata: usage(3, 1) }),
    chunk([{ functionCall: { name: 'find', args: {} } }], { finishReason: 'STOP' }, { responseId: 'a', usageMetadata: usage(3, 2) }),
    { candidates: [{ content: { role: 'user', parts: [{ functionResponse: { name: 'find' } }, { text: 'result' }] } }] },
    chunk([{ text: 'Found.' }], {}, { responseId: 'b', usageMetadata: usage(9, 1) }),
    end('STOP', { responseId: 'b', usageMetadata: usage(9, 4) })
  ]
  t.same(readChunks(chunks), {
    status: 'complete', text: 'Let me see. Found.', finishReason: 'stop', rawFinishReason: 'STOP', usage: { inputTokens: 12, outputTokens: 6, totalTokens: 18 }
  })
  t.match(readChunks(chunks.slice(0, -1)), { status: 'error', type: 'incomplete' }, 'the last response was cut')
  t.match(readChunks(chunks.slice(0, 3)), { finishReason: 'tool_calls', rawFinishReason: 'STOP' }, 'functions that nobody called')
})

t.test('a response that the SDK resumed counts once', async (t) => {
  const chunks = [
    chunk([{ text: 'a' }], {}, { responseId: 'a', usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 1 } }),
    end('STOP', { responseId: 'b', usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 2 } })
  ]
  t.same(readChunks(chunks).usage, { inputTokens: 7, outputTokens: 2 })
})

t.test('tool results are input, and thoughts are output', async (t) => {
  const usageMetadata = { promptTokenCount: 1, toolUsePromptTokenCount: 2, cachedContentTokenCount: 1, candidatesTokenCount: 4, thoughtsTokenCount: 8, totalTokenCount: 15 }
  t.same(readChunks([end('STOP', { usageMetadata })]).usage, { inputTokens: 3, outputTokens: 12, totalTokens: 15 })
  t.equal(readChunks([end('STOP', { usageMetadata: {} })]).usage, undefined)
})

t.test('the events of the wire are read, its errors too', async (t) => {
  t.match(readChunks(wires.happy!.body), { status: 'complete', text: TEXT, finishReason: 'stop' })
  t.match(readChunks(wires['error-middle']!.body), { status: 'error', text: 'Héllo ', type: 'api_error', message: 'The server had an error' })
  t.match(readChunks(wires['run-failed']!.body), { status: 'error', type: 'api_error', message: 'The server had an error' })
})

t.test('whatever is missing or strange does no harm', async (t) => {
  for (const odd of [undefined, null, 7, {}, [], [null], [7], [{}]]) {
    const chunks = [
      { candidates: odd, promptFeedback: odd, usageMetadata: odd, responseId: odd },
      { candidates: [{ content: odd, finishReason: odd }] }, chunk(odd), chunk([odd]), chunk([{ text: odd, thought: odd, audioTranscription: odd }]),
      end('STOP', { usageMetadata: odd })
    ]
    t.match(readChunks(chunks), { status: 'complete', text: '', finishReason: 'stop' })
  }
  const read = googleGenai.open(new StreamReport())
  for (const odd of [{}, { candidates: 7 }, { error: {} }]) t.equal(read(odd), undefined)
})
