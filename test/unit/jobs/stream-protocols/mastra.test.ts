import t from 'tap'
import { readChunks } from '../../../support/streams.js'

const chunk = (type: string, payload: object = {}, from = 'AGENT'): object => ({ type, runId: 'r', from, payload })
const START = chunk('start', { id: 'writer' })
const TEXT = chunk('text-delta', { id: '0', text: 'Hé' })
const finish = (stepResult: object, output: object = {}): object => chunk('finish', { stepResult, output })

t.test('how an agent ends', async (t) => {
  const rows: Array<[chunk: object, end: object]> = [
    [finish({ reason: 'stop', rawReason: 'end_turn' }, { usage: { inputTokens: 9, outputTokens: 5, totalTokens: 14 } }),
      { status: 'complete', finishReason: 'stop', rawFinishReason: 'end_turn', usage: { inputTokens: 9, outputTokens: 5, totalTokens: 14 } }],
    [finish({ reason: 'content-filter', rawReason: 'stop' }), { status: 'complete', finishReason: 'refusal' }],
    [finish({ reason: 'content-filter', rawReason: 'refusal' }), { status: 'complete', finishReason: 'refusal' }],
    [finish({ reason: 'content-filter' }), { status: 'complete', finishReason: 'content_filter' }],
    [finish({ reason: 'other' }), { status: 'complete', finishReason: 'unknown' }],
    [finish({ reason: 'tripwire' }), { status: 'error', message: 'a processor of the agent stopped it', type: 'content_filter' }],
    [finish({ reason: 'error' }), { status: 'error', type: 'api_error' }],
    [finish({ reason: 'interrupted' }), { status: 'error', type: 'incomplete' }],
    [chunk('tripwire', { reason: 'It names a person', processorId: 'pii' }), { status: 'error', message: 'It names a person', type: 'content_filter' }],
    [chunk('tripwire', { reason: 'Again, please', retry: true }), { status: 'error', type: 'incomplete' }],
    [chunk('abort'), { status: 'error', type: 'cancelled' }],
    [chunk('error', { error: Object.assign(new Error('Slow down'), { statusCode: 429 }) }), { status: 'error', message: 'Slow down', type: 'rate_limit_error' }],
    [chunk('error'), { status: 'error', message: 'unknown error' }],
    [chunk('step-finish', { stepResult: { reason: 'stop' } }), { status: 'error', type: 'incomplete' }]
  ]
  for (const [last, end] of rows) t.match(readChunks([START, TEXT, last]), { text: 'Hé', ...end }, JSON.stringify(last))
  const retried = [START, chunk('tripwire', { reason: 'Again, please', retry: true }), TEXT, finish({ reason: 'stop' })]
  t.match(readChunks(retried), { status: 'complete', text: 'Hé', finishReason: 'stop' }, 'a processor asked for another attempt')
})

t.test('nothing but text is text, and what failed inside is no failure of the run', async (t) => {
  const others = [
    chunk('reasoning-delta', { text: 'x' }), chunk('tool-call-delta', { argsTextDelta: '{}' }), chunk('tool-error', { error: 'x' }),
    chunk('tool-output', { output: chunk('text-delta', { text: 'x' }) }), chunk('background-task-failed', { error: 'x' }), { type: 'object', object: {} },
    { type: 'data-error', data: 'x' }, { type: 'text-delta' }, { type: 7 }, {}
  ]
  t.match(readChunks([START, ...others, TEXT, finish({ reason: 'stop' })]), { status: 'complete', text: 'Hé' })
})

t.test('a network of agents', async (t) => {
  const chunks = [
    chunk('routing-agent-start', {}, 'NETWORK'), chunk('agent-execution-event-text-delta', TEXT, 'NETWORK'), chunk('agent-execution-event-error', chunk('error', { error: 'x' }), 'NETWORK'),
    chunk('routing-agent-text-delta', { text: 'llo' }, 'NETWORK')
  ]
  const usage = { inputTokens: 9, outputTokens: 5, totalTokens: 14 }
  t.match(readChunks([...chunks, chunk('network-execution-event-finish', { usage }, 'NETWORK')]), { status: 'complete', text: 'Héllo', finishReason: 'unknown', usage })
  t.match(readChunks(chunks), { status: 'error', type: 'incomplete' })
  t.match(readChunks([...chunks, chunk('routing-agent-abort', {}, 'NETWORK')]), { status: 'error', type: 'cancelled' })
})

t.test('a workflow', async (t) => {
  const finished = (workflowStatus: string): object => chunk('workflow-finish', { workflowStatus, output: { usage: { inputTokens: 9 } } }, 'WORKFLOW')
  const chunks = [
    chunk('workflow-start', {}, 'WORKFLOW'), chunk('workflow-step-output', { output: TEXT }, 'USER'), chunk('workflow-step-output', { output: { type: 'start' } }, 'USER'),
    chunk('workflow-step-result', { status: 'success' }, 'WORKFLOW')
  ]
  t.match(readChunks([...chunks, finished('success')]), { status: 'complete', text: 'Hé', finishReason: 'stop', usage: { inputTokens: 9 } })
  t.match(readChunks([...chunks, finished('suspended')]), { status: 'complete', finishReason: 'pause' })
  t.match(readChunks([...chunks, finished('canceled')]), { status: 'error', type: 'cancelled' })
  t.match(readChunks([...chunks, finished('tripwire')]), { status: 'error', type: 'content_filter' })
  t.match(readChunks([...chunks, finished('failed')]), { status: 'error', type: 'api_error' })
  const failed = chunk('workflow-step-result', { status: 'failed', error: { message: 'No such file' } }, 'WORKFLOW')
  t.match(readChunks([...chunks, failed, finished('failed')]), { status: 'error', message: 'No such file' })
  t.match(readChunks([...chunks, failed, finished('success')]), { status: 'complete' }, 'a step was tried again')
})

t.test('garbage never throws', async (t) => {
  for (const type of ['text-delta', 'finish', 'error', 'tripwire', 'abort', 'agent-execution-event-text-delta', 'workflow-step-output', 'workflow-finish', 'network-execution-event-finish']) {
    for (const value of [undefined, null, 7, '', [], {}]) {
      const payload = Object.fromEntries(['text', 'payload', 'output', 'stepResult', 'reason', 'workflowStatus', 'error', 'usage'].map((name) => [name, value]))
      t.type(readChunks([START, { type, payload: value }, chunk(type, payload)]).status, 'string')
    }
  }
})
