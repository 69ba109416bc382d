import { fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

const REASONS: FinishReasons = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  pause_turn: 'pause',
  // Sent if the request asks the provider to pause after summarizing the conversation.
  compaction: 'pause',
  refusal: 'refusal'
}

const EVENTS: ReadonlySet<unknown> = new Set([
  'message_start', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop'
])

const INPUTS = ['input_tokens', 'cache_creation_input_tokens', 'cache_read_input_tokens']

/**
 * Anthropic's messages, from their SDK or from the wire (which also has `ping` and `error`). Thinking, tools, citations and
 * summaries don't count as text. https://platform.claude.com/docs/en/build-with-claude/streaming
 */
export const anthropicMessages: StreamProtocol = {
  name: 'Anthropic messages',
  recognises: ({ type }) => EVENTS.has(type),
  open: (report) => {
    const message = new Message(report)
    return (chunk) => message.read(chunk)
  },
  missingEnd: 'incomplete'
}

/** State of the message that is being streamed. */
class Message {
  readonly #report: StreamReport
  /** Token counts so far. A later event replaces those that it has. */
  readonly #counts = new Map<string, number>()
  #hasText = false

  constructor (report: StreamReport) {
    this.#report = report
  }

  read (chunk: Fields): string | undefined {
    switch (chunk.type) {
      case 'content_block_delta':
        return this.#textOf(chunk.delta, 'text_delta')
      case 'content_block_start':
        return this.#textOf(chunk.content_block, 'text')
      case 'content_block_stop':
        return ''
      case 'message_start':
        // An app that calls tools may concatenate the streams of several messages.
        this.#report.begin()
        this.#counts.clear()
        this.#noteUsage(fieldsOf(chunk.message).usage)
        return ''
      case 'message_delta':
        this.#noteUsage(chunk.usage)
        return this.#finish(fieldsOf(chunk.delta))
      case 'message_stop':
        this.#report.complete()
        return ''
      default:
        return undefined
    }
  }

  #textOf (part: unknown, type: string): string {
    const fields = fieldsOf(part)
    const text = fields.type === type ? stringOf(fields.text) : ''
    if (text !== '') this.#hasText = true
    return text
  }

  /**
   * Returns the provider's explanation of a refusal. It is the text, or follows the text that the model wrote before it was
   * stopped.
   */
  #finish ({ stop_reason, stop_details }: Fields): string {
    this.#report.finish(stop_reason, REASONS)
    const { type, explanation: given } = fieldsOf(stop_details)
    const explanation = type === 'refusal' ? stringOf(given) : ''
    return explanation !== '' && this.#hasText ? `\n\n${explanation}` : explanation
  }

  #noteUsage (usage: unknown): void {
    for (const [name, count] of Object.entries(fieldsOf(usage))) {
      if (typeof count === 'number') this.#counts.set(name, count)
    }
    const inputs = INPUTS.map((name) => this.#counts.get(name)).filter((count) => count !== undefined)
    const input = inputs.length > 0 ? inputs.reduce((sum, count) => sum + count) : undefined
    this.#report.setUsage({ input, output: this.#counts.get('output_tokens') })
  }
}
