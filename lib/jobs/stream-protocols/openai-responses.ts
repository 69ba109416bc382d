import { arrayOf, fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

/** The `status` of a response, and the reasons of an incomplete one. */
const REASONS: FinishReasons = {
  completed: 'stop',
  max_output_tokens: 'length',
  max_messages: 'length',
  content_filter: 'content_filter',
  // Another response continues this one.
  steered: 'pause',
  failed: 'error',
  cancelled: 'cancelled'
}

const TOOL_CALLS: FinishReasons = { ...REASONS, completed: 'tool_calls' }
/** Items that the app has to answer. The provider runs its own tools within the response. */
const TOOL_CALL = /^(?:function_call|custom_tool_call|computer_call|local_shell_call|shell_call|apply_patch_call|mcp_approval_request)$/

/** OpenAI's responses. https://platform.openai.com/docs/api-reference/responses-streaming */
export const openaiResponses: StreamProtocol = {
  name: 'OpenAI responses',
  // Types of an app's own events may have the same prefix.
  recognises: ({ type, sequence_number, response, item_id }) => typeof type === 'string' && type.startsWith('response.') &&
    (typeof sequence_number === 'number' || typeof item_id === 'string' || fieldsOf(response) === response),
  open: (report) => (event) => readEvent(event, report),
  missingEnd: 'incomplete'
}

function readEvent (event: Fields, report: StreamReport): string | undefined {
  switch (event.type) {
    case 'response.output_text.delta':
    case 'response.audio.transcript.delta':
      return stringOf(event.delta)
    case 'response.created':
      // An app that calls tools may concatenate the streams of several responses.
      report.begin()
      return ''
    case 'response.refusal.delta':
      report.refuse()
      return stringOf(event.delta)
    case 'response.content_part.added': {
      const { type, text } = fieldsOf(event.part)
      return type === 'output_text' ? stringOf(text) : ''
    }
    case 'response.completed':
    case 'response.incomplete':
    case 'response.failed':
    case 'response.cancelled':
      readEnd(stringOf(event.type).slice('response.'.length), fieldsOf(event.response), report)
      return ''
    // An `error` event is not part of the response. It is read like that of any protocol.
    default: return openaiResponses.recognises(event) ? '' : undefined
  }
}

function readEnd (type: string, response: Fields, report: StreamReport): void {
  const { input_tokens, output_tokens, total_tokens } = fieldsOf(response.usage)
  report.setUsage({ input: input_tokens, output: output_tokens, total: total_tokens })
  const asksForTools = arrayOf(response.output).some((item) => TOOL_CALL.test(stringOf(fieldsOf(item).type)))
  // A failed response ends with `response.failed`. Other last events carry the outcome in `status`.
  const status = type === 'completed' ? stringOf(response.status) || type : type
  const reason = status === 'incomplete' ? fieldsOf(response.incomplete_details).reason ?? status : status
  report.finish(reason, asksForTools ? TOOL_CALLS : REASONS, response.error ?? undefined)
  report.complete()
}
