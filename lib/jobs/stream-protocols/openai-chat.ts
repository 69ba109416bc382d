import { arrayOf, fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

const REASONS: FinishReasons = {
  stop: 'stop',
  length: 'length',
  // Mistral's reason for a full context.
  model_length: 'length',
  content_filter: 'content_filter',
  tool_calls: 'tool_calls',
  function_call: 'tool_calls',
  // Sent by gateways, with the error in the choice or in the chunk.
  error: 'error'
}

/**
 * OpenAI's chat completions and legacy completions, and the many hosts that send the same chunks (Groq, gateways, local
 * servers). The text is that of the first choice. https://platform.openai.com/docs/api-reference/chat-streaming
 */
export const openaiChat: StreamProtocol = {
  name: 'OpenAI chat completions',
  recognises: ({ choices }) => Array.isArray(choices),
  open: (report) => {
    const completion = new Completion(report)
    return (chunk) => Array.isArray(chunk.choices) ? completion.read(chunk, chunk.choices) : undefined
  },
  // Some hosts send no finish reason, only `[DONE]`, which the SDK hides.
  missingEnd: 'unknown'
}

/** State of the current completion. */
class Completion {
  readonly #report: StreamReport
  /** Undefined until the completion has finished. */
  #finishedId: unknown

  constructor (report: StreamReport) {
    this.#report = report
  }

  read (chunk: Fields, choices: readonly unknown[]): string {
    // An app that calls tools may concatenate the streams of several completions.
    if (this.#finishedId !== undefined && choices.length > 0 && this.#isOther(chunk.id)) this.#begin()
    const choice = firstChoice(choices)
    const usage = chunk.usage ?? fieldsOf(chunk.x_groq).usage
    if (usage !== undefined && usage !== null) noteUsage(fieldsOf(usage), this.#report)
    const error = choice.error ?? chunk.error
    if (error !== undefined && error !== null) this.#report.fail(error)
    const text = textOfDelta(fieldsOf(choice.delta), this.#report)
    if (typeof choice.finish_reason === 'string' && choice.finish_reason !== '') this.#finish(choice.finish_reason, chunk.id)
    return text === '' ? stringOf(choice.text) : text
  }

  #isOther (id: unknown): boolean {
    return typeof id === 'string' && id !== '' && id !== this.#finishedId
  }

  #begin (): void {
    this.#report.begin()
    this.#finishedId = undefined
  }

  #finish (reason: string, id: unknown): void {
    this.#report.finish(reason, REASONS)
    this.#finishedId = id
  }
}

function firstChoice (choices: readonly unknown[]): Fields {
  return fieldsOf(choices.find((choice) => (fieldsOf(choice).index ?? 0) === 0))
}

function textOfDelta ({ content, refusal, audio }: Fields, report: StreamReport): string {
  if (typeof content === 'string' && content !== '') return content
  if (typeof refusal === 'string' && refusal !== '') {
    report.refuse()
    return refusal
  }
  if (content === undefined && audio !== undefined) return stringOf(fieldsOf(audio).transcript)
  return textOfParts(content)
}

/** Mistral's models send content in parts while they think. */
function textOfParts (content: unknown): string {
  return arrayOf(content).map((part) => fieldsOf(part).type === 'text' ? stringOf(fieldsOf(part).text) : '').join('')
}

function noteUsage ({ prompt_tokens, completion_tokens, total_tokens }: Fields, report: StreamReport): void {
  report.setUsage({ input: prompt_tokens, output: completion_tokens, total: total_tokens })
}
