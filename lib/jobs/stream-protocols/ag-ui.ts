import { arrayOf, fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

const REASONS: FinishReasons = {
  stop: 'stop',
  length: 'length',
  content_filter: 'content_filter',
  tool_calls: 'tool_calls',
  // Outcomes of a run.
  success: 'stop',
  interrupt: 'pause',
  cancelled: 'cancelled'
}

/**
 * Event types of AG-UI. Every run begins with `RUN_STARTED`. Types such as `STATE_DELTA` are omitted, because apps use these
 * names too.
 */
const EVENT = /^(?:RUN_(?:STARTED|FINISHED|ERROR)|TEXT_MESSAGE_(?:START|CONTENT|CHUNK|END)|TOOL_CALL_(?:START|ARGS|CHUNK|END|RESULT)|(?:REASONING|THINKING)_[A-Z_]+)$/
/** TanStack AI passes on only the message of an error of OpenAI's SDK. */
const STATUS_IN_FRONT = /^([45]\d\d) (?=\S)/

/**
 * AG-UI events, which TanStack AI's `chat()` streams too. Only the assistant's messages are text, not those of other roles or
 * of subagents. https://docs.ag-ui.com/concepts/events
 */
export const agUi: StreamProtocol = {
  name: 'AG-UI',
  recognises: ({ type }) => typeof type === 'string' && EVENT.test(type),
  open: (report) => {
    const otherRoles = new Set<unknown>()
    let openMessage: unknown
    const opened = ({ messageId, role }: Fields): void => {
      openMessage = messageId
      if (role !== undefined && role !== 'assistant') otherRoles.add(messageId)
    }
    return (event) => {
      switch (event.type) {
        case 'TEXT_MESSAGE_START':
          opened(event)
          report.complete(false)
          return ''
        case 'TEXT_MESSAGE_CHUNK':
          // Only a message's first chunk needs its id.
          if (event.messageId !== undefined && event.messageId !== openMessage) opened(event)
          return textOf(event, openMessage, otherRoles)
        case 'TEXT_MESSAGE_CONTENT': return textOf(event, event.messageId, otherRoles)
        // TanStack AI finishes a run whenever the model asks for tools, and continues without a new start.
        case 'RUN_STARTED':
        case 'TOOL_CALL_START':
          report.complete(false)
          return ''
        case 'RUN_FINISHED':
          readFinish(event, report)
          return ''
        case 'RUN_ERROR':
          readError(event, report)
          return ''
        default: return typeof event.type === 'string' ? '' : undefined
      }
    }
  },
  missingEnd: 'incomplete'
}

function textOf (event: Fields, messageId: unknown, otherRoles: ReadonlySet<unknown>): string {
  if (event.subagentRunId !== undefined || (otherRoles.size > 0 && otherRoles.has(messageId))) return ''
  return stringOf(event.delta)
}

function readFinish (event: Fields, report: StreamReport): void {
  const { outcome, finishReason, metadata } = event
  report.complete()
  const reason = finishReason ?? fieldsOf(fieldsOf(metadata).tanstack).finishReason
  report.finish(reason, REASONS)
  // TanStack AI's reason is more precise than the success of the run.
  const { type } = fieldsOf(outcome)
  if (type !== 'success' || typeof reason !== 'string') report.finish(type, REASONS)
  noteUsage(event, report)
}

function noteUsage ({ usage }: Fields, report: StreamReport): void {
  // AG-UI has an entry for each model, TanStack AI has one.
  for (const entry of Array.isArray(usage) ? arrayOf(usage) : [usage]) {
    const { inputTokens, outputTokens, promptTokens, completionTokens, totalTokens } = fieldsOf(entry)
    report.addUsage({ input: inputTokens ?? promptTokens, output: outputTokens ?? completionTokens, total: totalTokens })
  }
}

/** `rawEvent` is the provider's error body. */
function readError (event: Fields, report: StreamReport): void {
  const message = stringOf(event.message)
  const status = STATUS_IN_FRONT.exec(message)?.[1]
  // An error of fetch has only its message here.
  const name = event.code === undefined && status === undefined ? { name: 'TypeError' } : {}
  report.fail({ message: status === undefined ? message : message.slice(4), ...(status !== undefined && { status }), code: event.code, error: event.rawEvent, ...name })
}
