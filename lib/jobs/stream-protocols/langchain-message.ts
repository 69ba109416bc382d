import { openaiResponses } from './openai-responses.js'
import { arrayOf, fieldsOf, stringOf, type Fields } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

/** LangChain passes on each provider's own reasons. */
const REASONS: FinishReasons = {
  stop: 'stop', length: 'length', content_filter: 'content_filter', tool_calls: 'tool_calls', function_call: 'tool_calls', error: 'error', // OpenAI, Mistral, Groq, Ollama
  end_turn: 'stop', stop_sequence: 'stop', max_tokens: 'length', model_context_window_exceeded: 'length', tool_use: 'tool_calls', // Anthropic, Bedrock
  pause_turn: 'pause', refusal: 'refusal', content_filtered: 'content_filter', guardrail_intervened: 'content_filter',
  STOP: 'stop', MAX_TOKENS: 'length', SAFETY: 'content_filter', RECITATION: 'content_filter', BLOCKLIST: 'content_filter', // Google
  PROHIBITED_CONTENT: 'content_filter', SPII: 'content_filter', MALFORMED_FUNCTION_CALL: 'error',
  COMPLETE: 'stop', STOP_SEQUENCE: 'stop', TOOL_CALL: 'tool_calls', ERROR: 'error', ERROR_TOXIC: 'content_filter' // Cohere
}
/** A message without a role is `generic`. The class names are those of the serialized form. */
const MODEL_TYPES: ReadonlySet<unknown> = new Set(['ai', 'generic', 'AIMessage', 'AIMessageChunk', 'ChatMessage', 'ChatMessageChunk'])
const OTHER_TYPES: ReadonlySet<unknown> = new Set(['human', 'system', 'developer', 'tool', 'function', 'remove', 'user'])

/** Whether a value is a LangChain message of any role, or a chunk of one: an instance, or the serialized form. */
export function isMessage (value: unknown): boolean {
  const { lc, id, type, content } = fieldsOf(value)
  if (lc === 1) return arrayOf(id)[1] === 'messages'
  return content !== undefined && (MODEL_TYPES.has(type) || OTHER_TYPES.has(type))
}

/** Returns the fields of a model's message, or of a chunk of one. Returns undefined for anything else. */
export function modelMessageOf (value: unknown): Fields | undefined {
  const fields = fieldsOf(value)
  const isSerialised = fields.lc === 1
  const message = isSerialised ? fieldsOf(fields.kwargs) : fields
  if (message.content === undefined || !MODEL_TYPES.has(isSerialised ? arrayOf(fields.id).at(-1) : fields.type)) return undefined
  return OTHER_TYPES.has(message.role) ? undefined : message
}

/** Returns the text of a model's message, or of a chunk of one, and reports the finish reason. Does not read the usage. */
export function readMessage (message: Fields, report: StreamReport): string {
  const metadata = fieldsOf(message.response_metadata)
  // If there are several choices (`n`), the text is that of the first.
  if (typeof metadata.completion === 'number' && metadata.completion > 0) return ''
  const extra = fieldsOf(message.additional_kwargs)
  readFinish(message, metadata, extra, report)
  const text = textOf(message.content, report)
  if (text !== '') return text
  if (typeof extra.refusal === 'string') {
    report.refuse()
    return extra.refusal
  }
  return extra.audio === undefined ? '' : stringOf(fieldsOf(extra.audio).transcript)
}

/** Adds a message's usage to the total, in the same way as LangChain adds up chunks. */
export function addUsage (message: Fields, report: StreamReport): void {
  if (message.usage_metadata === undefined) return
  const { input_tokens, output_tokens, total_tokens } = fieldsOf(message.usage_metadata)
  report.addUsage({ input: input_tokens, output: output_tokens, total: total_tokens })
}

function readFinish (message: Fields, metadata: Fields, extra: Fields, report: StreamReport): void {
  const { status } = metadata
  if (typeof status === 'string' && metadata.object === 'response') {
    openaiResponses.open(report)({ type: `response.${status}`, response: { ...metadata, usage: undefined } })
  } else if (typeof metadata.id === 'string' && metadata.model_provider === 'openai' && Array.isArray(message.content)) {
    // An OpenAI response starts. LangChain drops the event of a failed one, so only the missing end shows the failure.
    report.begin()
  } else {
    report.finish(metadata.finish_reason ?? metadata.finishReason ?? metadata.stop_reason ?? metadata.stopReason ?? metadata.done_reason ?? extra.stop_reason, REASONS)
  }
}

function textOf (content: unknown, report: StreamReport): string {
  if (typeof content === 'string') return content
  let text = ''
  for (const part of arrayOf(content)) {
    const { type, text: given, refusal } = fieldsOf(part)
    if (type === 'text') text += stringOf(given)
    if (type === 'refusal') {
      report.refuse()
      text += stringOf(refusal)
    }
  }
  return text
}
