import { fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

const REASONS: FinishReasons = {
  COMPLETE: 'stop',
  STOP_SEQUENCE: 'stop',
  MAX_TOKENS: 'length',
  TOOL_CALL: 'tool_calls',
  ERROR: 'error',
  TIMEOUT: 'error'
}

/** Without the events of tool calls, because the AI SDK has some with the same name. */
const EVENTS: ReadonlySet<unknown> = new Set([
  'message-start', 'content-start', 'content-delta', 'content-end', 'tool-plan-delta', 'citation-start', 'citation-end', 'message-end'
])

/**
 * Cohere's chat, version 2, from its SDK (camelCase) or from the wire (snake_case). Thinking, tool plans, tool calls and
 * citations are not text. https://docs.cohere.com/reference/chat-stream
 */
export const cohere: StreamProtocol = {
  name: 'Cohere chat v2',
  recognises: ({ type, delta }) => EVENTS.has(type) && fieldsOf(delta) === delta,
  open: (report) => (chunk) => EVENTS.has(chunk.type) ? readEvent(chunk, report) : undefined,
  missingEnd: 'incomplete'
}

function readEvent ({ type, delta }: Fields, report: StreamReport): string {
  // The start of a content part carries text, too.
  if (type === 'content-delta' || type === 'content-start') return stringOf(fieldsOf(fieldsOf(fieldsOf(delta).message).content).text)
  if (type === 'message-start') report.begin()
  if (type === 'message-end') finish(fieldsOf(delta), report)
  return ''
}

function finish ({ finishReason, finish_reason = finishReason, error, usage }: Fields, report: StreamReport): void {
  const failure = failureOf(finish_reason, error)
  if (stringOf(error) !== '') report.fail(failure)
  report.finish(finish_reason, REASONS, failure)
  report.complete()
  const { tokens, billedUnits, billed_units = billedUnits } = fieldsOf(usage)
  const { inputTokens, input_tokens = inputTokens, outputTokens, output_tokens = outputTokens } = fieldsOf(tokens ?? billed_units)
  report.setUsage({ input: input_tokens, output: output_tokens })
}

function failureOf (reason: unknown, error: unknown): { message: string, type: string } {
  const isTimeout = reason === 'TIMEOUT'
  const message = isTimeout ? 'the model took too long' : `the model's provider ended the stream with "${String(reason)}"`
  return { message: stringOf(error) || message, type: isTimeout ? 'timeout_error' : 'api_error' }
}
