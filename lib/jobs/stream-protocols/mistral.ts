import { arrayOf, fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

const REASONS: FinishReasons = {
  stop: 'stop',
  length: 'length',
  model_length: 'length',
  tool_calls: 'tool_calls',
  content_filter: 'content_filter',
  error: 'error'
}

/**
 * Mistral's chat, agents and code completions, from its SDK: a chunk's `data` is OpenAI's chunk in camelCase. The wire format is
 * OpenAI's. The text is that of the first choice. Thinking and references are not text.
 * https://docs.mistral.ai/api/#tag/chat
 */
export const mistral: StreamProtocol = {
  name: 'Mistral chat',
  recognises: ({ data }) => Array.isArray(fieldsOf(data).choices),
  open: (report) => ({ data }) => {
    const fields = fieldsOf(data)
    return Array.isArray(fields.choices) ? readData(fields, report) : undefined
  },
  missingEnd: 'incomplete'
}

function readData ({ choices, usage }: Fields, report: StreamReport): string {
  const { delta, finishReason } = fieldsOf(arrayOf(choices).find((choice) => (fieldsOf(choice).index ?? 0) === 0))
  if (usage !== undefined) noteUsage(fieldsOf(usage), report)
  if (typeof finishReason === 'string') {
    report.finish(finishReason, REASONS)
    report.complete()
  }
  const { content } = fieldsOf(delta)
  return typeof content === 'string' ? content : arrayOf(content).map(textOfPart).join('')
}

function textOfPart (part: unknown): string {
  const { type, text } = fieldsOf(part)
  return type === 'text' ? stringOf(text) : ''
}

function noteUsage ({ promptTokens, completionTokens, totalTokens }: Fields, report: StreamReport): void {
  report.setUsage({ input: promptTokens, output: completionTokens, total: totalTokens })
}
