import t from 'tap'
import { readChunks } from '../../../support/streams.js'

const START = { type: 'RUN_STARTED', threadId: 't', runId: 'r' }
const FINISHED = { type: 'RUN_FINISHED', threadId: 't', runId: 'r' }
const text = (delta: string, messageId = 'm', fields: object = {}): object => ({ type: 'TEXT_MESSAGE_CONTENT', messageId, delta, ...fields })

t.test('the text is what the assistant says, in all of its messages', async (t) => {
  const events = [
    START, { type: 'TEXT_MESSAGE_START', messageId: 'm' }, text('Hé'), { type: 'TEXT_MESSAGE_END', messageId: 'm' },
    { type: 'TEXT_MESSAGE_START', messageId: 'u', role: 'user' }, text('no', 'u'), { type: 'TEXT_MESSAGE_END', messageId: 'u' },
    { type: 'TEXT_MESSAGE_START', messageId: 'n', role: 'assistant' }, text('llo', 'n'), text('no', 'u'), text('no', 'n', { subagentRunId: 's' }), FINISHED
  ]
  t.match(readChunks(events), { status: 'complete', text: 'Héllo', finishReason: 'unknown' })
})

t.test('chunks open a message by themselves', async (t) => {
  const chunk = (fields: object): object => ({ type: 'TEXT_MESSAGE_CHUNK', ...fields })
  const events = [
    START, chunk({ messageId: 'm', role: 'assistant', delta: 'Hé' }), chunk({ delta: 'l' }), chunk({ messageId: 's', role: 'system', delta: 'no' }), chunk({ delta: 'no' }),
    chunk({ messageId: 'm', delta: 'lo' }), chunk({ messageId: 'm' }), FINISHED
  ]
  t.match(readChunks(events), { status: 'complete', text: 'Héllo' })
})

t.test('nothing else is text, nor a failure of the run', async (t) => {
  const others = [
    ...['REASONING_MESSAGE_CONTENT', 'REASONING_MESSAGE_CHUNK', 'THINKING_TEXT_MESSAGE_CONTENT', 'TOOL_CALL_ARGS', 'TOOL_CALL_CHUNK'].map((type) => ({ type, delta: 'x' })),
    { type: 'TOOL_CALL_RESULT', content: 'x' }, { type: 'MESSAGES_SNAPSHOT', messages: [{ role: 'assistant', content: 'x' }] }, { type: 'STATE_DELTA', delta: [] },
    { type: 'RAW', event: { error: {} } }, { type: 'CUSTOM', name: 'x' }, { type: 'SUBAGENT_ERROR', message: 'x' }, {}, { type: 7 }
  ]
  t.match(readChunks([START, ...others, text('Hé'), FINISHED]), { status: 'complete', text: 'Hé' })
})

t.test('how a run ends', async (t) => {
  const tanstack = (finishReason: unknown): object => ({ metadata: { tanstack: { finishReason } } })
  const rows: Array<[event: object, end: object]> = [
    [{ ...FINISHED, outcome: { type: 'success' } }, { status: 'complete', finishReason: 'stop' }],
    [{ ...FINISHED, outcome: { type: 'success' }, finishReason: 'length' }, { status: 'complete', finishReason: 'length' }],
    [{ ...FINISHED, outcome: { type: 'interrupt', interrupts: [] }, finishReason: 'tool_calls' }, { status: 'complete', finishReason: 'pause' }],
    [{ ...FINISHED, outcome: { type: 'cancelled' } }, { status: 'error', type: 'cancelled' }],
    [{ ...FINISHED, ...tanstack('content_filter') }, { status: 'complete', finishReason: 'content_filter' }],
    [{ ...FINISHED, ...tanstack(null) }, { status: 'complete', finishReason: 'unknown' }],
    [{ type: 'RUN_ERROR', message: 'The model is gone', code: 'not_there' }, { status: 'error', message: 'The model is gone', type: 'not_there' }],
    [{ type: 'RUN_ERROR', message: '429 Rate limit reached', code: 'x' }, { status: 'error', message: 'Rate limit reached', type: 'rate_limit_error' }],
    [{ type: 'RUN_ERROR', message: 'Sorry', rawEvent: { type: 'server_error' } }, { status: 'error', message: 'Sorry', type: 'api_error' }],
    [{ type: 'RUN_ERROR', message: 'terminated' }, { status: 'error', type: 'connection_error' }],
    [{ type: 'RUN_ERROR', message: 'Sorry' }, { status: 'error', message: 'Sorry', type: 'internal_error' }],
    [{ type: 'RUN_ERROR' }, { status: 'error', message: 'unknown error' }],
    [{ type: 'TEXT_MESSAGE_END', messageId: 'm' }, { status: 'error', type: 'incomplete' }]
  ]
  for (const [event, end] of rows) t.match(readChunks([START, text('Hé'), event]), { text: 'Hé', ...end }, JSON.stringify(event))
  t.match(readChunks([START, FINISHED, START, text('Hé')]), { status: 'error', type: 'incomplete' }, 'a second run that was cut')
})

t.test('a run that calls tools has an end for each call of the model', async (t) => {
  const finished = (finishReason: string): object => ({ ...FINISHED, usage: { promptTokens: 9, completionTokens: 5, totalTokens: 14 }, finishReason })
  const events = [START, { type: 'TOOL_CALL_START', toolCallId: '1' }, finished('tool_calls'), { type: 'TOOL_CALL_RESULT', toolCallId: '1', content: 'x' }]
  t.match(readChunks(events), { status: 'complete', finishReason: 'tool_calls' }, 'no further call is allowed')
  const next = [...events, { type: 'TEXT_MESSAGE_START', messageId: 'm' }, text('Hé')]
  t.match(readChunks(next), { status: 'error', type: 'incomplete' })
  t.match(readChunks([...next, finished('stop')]), { status: 'complete', text: 'Hé', finishReason: 'stop', usage: { inputTokens: 18, outputTokens: 10, totalTokens: 28 } })
})

t.test('the usage of all models is told', async (t) => {
  const usage = [{ model: 'a', inputTokens: 9, outputTokens: 5, totalTokens: 14 }, { model: 'b', inputTokens: 1, outputTokens: 2 }]
  t.same(readChunks([START, { ...FINISHED, usage }]).usage, { inputTokens: 10, outputTokens: 7, totalTokens: 14 })
  t.same(readChunks([START, { ...FINISHED, usage: { promptTokens: 9, completionTokens: 5, totalTokens: 14 } }]).usage, { inputTokens: 9, outputTokens: 5, totalTokens: 14 })
})

t.test('garbage never throws', async (t) => {
  for (const type of ['TEXT_MESSAGE_START', 'TEXT_MESSAGE_CONTENT', 'TEXT_MESSAGE_CHUNK', 'RUN_FINISHED', 'RUN_ERROR']) {
    for (const value of [undefined, null, 7, '', [], [null, 7], {}]) {
      const fields = Object.fromEntries(['messageId', 'role', 'delta', 'outcome', 'usage', 'metadata', 'message', 'code', 'rawEvent', 'finishReason'].map((name) => [name, value]))
      t.type(readChunks([START, { type, ...fields }]).status, 'string')
    }
  }
})
