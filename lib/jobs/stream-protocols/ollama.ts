import { arrayOf, fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

const REASONS: FinishReasons = {
  stop: 'stop',
  length: 'length'
}
/** Ollama also sends `stop` if the model calls tools. */
const REASONS_OF_CALLS: FinishReasons = { ...REASONS, stop: 'tool_calls' }

/**
 * Ollama's chat and generate, from its SDK or from the wire, which is lines of JSON. Thinking and tool calls are not text.
 * https://docs.ollama.com/api/chat
 */
export const ollama: StreamProtocol = {
  name: 'Ollama',
  recognises: ({ model, done }) => typeof done === 'boolean' && typeof model === 'string',
  open: (report) => {
    const answer = new Answer(report)
    return (chunk) => typeof chunk.done === 'boolean' ? answer.read(chunk) : undefined
  },
  missingEnd: 'incomplete'
}

/** State of the current answer of the model. */
class Answer {
  readonly #report: StreamReport
  #isDone = false
  #hasCalls = false

  constructor (report: StreamReport) {
    this.#report = report
  }

  read (chunk: Fields): string {
    // An app that calls tools may concatenate the streams of several answers.
    if (this.#isDone) this.#begin()
    const { content, tool_calls } = fieldsOf(chunk.message)
    if (arrayOf(tool_calls).length > 0) this.#hasCalls = true
    if (chunk.done === true) this.#finish(chunk)
    return stringOf(content) || stringOf(chunk.response)
  }

  #begin (): void {
    this.#report.begin()
    this.#isDone = this.#hasCalls = false
  }

  #finish ({ done_reason, prompt_eval_count, eval_count }: Fields): void {
    this.#isDone = true
    this.#report.finish(done_reason, this.#hasCalls ? REASONS_OF_CALLS : REASONS)
    this.#report.setUsage({ input: prompt_eval_count, output: eval_count })
    this.#report.complete()
  }
}
