import { openaiChat } from './openai-chat.js'
import { openaiResponses } from './openai-responses.js'
import { arrayOf, fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { StreamReport } from './report.js'

/** Sent by a run that waits for a person. */
const APPROVAL = 'tool_approval_requested'

/**
 * The events of `run(agent, input, { stream: true })` of `@openai/agents`. The text comes from the models' own events. The
 * run's items repeat it, so they are ignored. https://openai.github.io/openai-agents-js/guides/streaming/
 */
export const openaiAgents: StreamProtocol = {
  name: 'OpenAI agents',
  recognises: ({ type }) => type === 'raw_model_stream_event' || type === 'run_item_stream_event' || type === 'agent_updated_stream_event',
  open: (report) => {
    const events = new ModelEvents(report)
    return (event) => {
      if (event.type === 'raw_model_stream_event') return events.read(fieldsOf(event.data))
      if (event.name === APPROVAL) report.finish(APPROVAL, { [APPROVAL]: 'pause' })
      return openaiAgents.recognises(event) ? '' : undefined
    }
  },
  missingEnd: 'incomplete'
}

/** Reads the events of one model call: those common to all providers, and the provider's own. */
class ModelEvents {
  readonly #report: StreamReport
  readonly #readChat
  readonly #readResponse
  /** Whether the provider's events are known. If so, the common ones repeat the same text. */
  #isKnown = false
  #hasText = false

  constructor (report: StreamReport) {
    this.#report = report
    this.#readChat = openaiChat.open(report)
    this.#readResponse = openaiResponses.open(report)
  }

  read (data: Fields): string {
    const text = this.#readData(data)
    this.#hasText ||= text !== ''
    return text
  }

  #readData (data: Fields): string {
    switch (data.type) {
      case 'output_text_delta': return this.#isKnown ? '' : stringOf(data.delta)
      case 'model': return this.#readProvider(fieldsOf(data.event))
      case 'response_started':
        this.#report.begin()
        this.#hasText = false
        return ''
      case 'response_done': return this.#readDone(fieldsOf(data.response))
      default: return ''
    }
  }

  #readProvider (event: Fields): string {
    const text = openaiChat.recognises(event) ? this.#readChat(event) : this.#readResponse(event)
    this.#isKnown ||= text !== undefined
    return text ?? ''
  }

  #readDone ({ usage, output }: Fields): string {
    const { inputTokens, outputTokens, totalTokens } = fieldsOf(usage)
    // Zero means that the host did not send the count.
    if (inputTokens !== 0 || outputTokens !== 0) this.#report.setUsage({ input: inputTokens, output: outputTokens, total: totalTokens })
    this.#report.complete()
    return this.#hasText ? '' : arrayOf(output).flatMap((item) => arrayOf(fieldsOf(item).content)).map((part) => this.#readPart(fieldsOf(part))).join('')
  }

  /** Reads a part of a whole message, from a model that does not stream. */
  #readPart ({ type, text, refusal }: Fields): string {
    if (type === 'refusal') this.#report.refuse()
    return type === 'output_text' ? stringOf(text) : type === 'refusal' ? stringOf(refusal) : ''
  }
}
