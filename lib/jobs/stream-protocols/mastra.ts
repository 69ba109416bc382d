import { aiSdkReasons } from './ai-sdk.js'
import { fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

const REASONS: FinishReasons = {
  ...aiSdkReasons,
  // A processor stopped the agent.
  tripwire: 'error',
  retry: 'error',
  // The ends of a workflow.
  success: 'stop',
  bailed: 'stop',
  failed: 'error',
  canceled: 'cancelled',
  suspended: 'pause',
  paused: 'pause'
}

/**
 * Mastra: the `fullStream` of `agent.stream()`, of an agent network and of a workflow. Most types are the AI SDK's, with their
 * fields in a `payload`. The output of tools, and of agents used as tools, is not text of the run.
 * https://mastra.ai/reference/streaming/ChunkType
 */
export const mastra: StreamProtocol = {
  name: 'Mastra',
  // Events of an app may have a type and a payload, too. Mastra's chunks also name their origin.
  recognises: ({ type, payload, from, runId }) => typeof payload === 'object' && payload !== null && typeof type === 'string' && typeof from === 'string' && runId !== undefined,
  open: (report) => {
    let stepError: unknown
    return (chunk) => {
      const payload = fieldsOf(chunk.payload)
      switch (chunk.type) {
        case 'text-delta':
        case 'routing-agent-text-delta': return stringOf(payload.text)
        // An agent's chunks, nested in those of a network or a workflow.
        case 'agent-execution-event-text-delta': return stringOf(fieldsOf(payload.payload).text)
        case 'workflow-step-output': return textOfNested(fieldsOf(payload.output))
        case 'workflow-step-result':
          if (payload.status === 'failed') stepError = payload.error
          return ''
        case 'finish':
          readFinish(fieldsOf(payload.stepResult), payload, report)
          return ''
        case 'network-execution-event-finish':
          readFinish({}, { output: payload }, report)
          return ''
        case 'workflow-finish':
          readFinish({ reason: payload.workflowStatus, error: stepError }, payload, report)
          return ''
        case 'error':
          report.fail(payload.error)
          return ''
        case 'tripwire':
          // With `retry`, the model is called again.
          if (payload.retry !== true) report.fail(blocked(payload.reason))
          return ''
        case 'abort':
        case 'routing-agent-abort':
        case 'workflow-canceled':
          report.cancel()
          return ''
        default: return typeof chunk.type === 'string' ? '' : undefined
      }
    }
  },
  missingEnd: 'incomplete'
}

function textOfNested ({ type, payload }: Fields): string {
  return type === 'text-delta' ? stringOf(fieldsOf(payload).text) : ''
}

function readFinish ({ reason, rawReason, error }: Fields, payload: Fields, report: StreamReport): void {
  report.complete()
  const isRefusal = rawReason === 'refusal' || (reason === 'content-filter' && rawReason === 'stop')
  report.finish(isRefusal ? 'refusal' : reason, REASONS, reason === 'tripwire' ? blocked(undefined) : error, rawReason ?? reason)
  const { inputTokens, outputTokens, totalTokens } = fieldsOf(fieldsOf(payload.output).usage)
  report.setUsage({ input: inputTokens, output: outputTokens, total: totalTokens })
}

function blocked (reason: unknown): object {
  return { message: stringOf(reason) || 'a processor of the agent stopped it', type: 'content_filter' }
}
