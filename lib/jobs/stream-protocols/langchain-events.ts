import { addUsage, modelMessageOf, readMessage } from './langchain-message.js'
import { fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

/** A graph that waits for a person. */
export const INTERRUPT = '__interrupt__'
export const INTERRUPTED: FinishReasons = { interrupt: 'pause' }

/**
 * LangChain's `streamEvents`, version v2 (and v1). Each model's own events are the text; chains, parsers and graphs emit the
 * same again. https://docs.langchain.com/oss/javascript/langchain/streaming
 */
export const langChainEvents: StreamProtocol = {
  name: 'LangChain events',
  recognises: ({ event, data, run_id }) => typeof run_id === 'string' && typeof event === 'string' && event.startsWith('on_') && data !== undefined,
  open: (report) => {
    const events = new RunEvents(report)
    return (event) => langChainEvents.recognises(event) ? events.read(event) : undefined
  },
  missingEnd: 'incomplete'
}

class RunEvents {
  readonly #report: StreamReport
  /** The runs of models whose text has come in pieces. */
  readonly #streamed = new Set<unknown>()
  #isFirst = true
  /** The run whose end is the end of all: the one that began first. Undefined where the events of that are filtered out. */
  #root: unknown

  constructor (report: StreamReport) {
    this.#report = report
  }

  read ({ event, run_id, data }: Fields): string {
    const name = stringOf(event)
    if (this.#isFirst) {
      this.#isFirst = false
      if (name.endsWith('_start')) this.#root = run_id
      else this.#report.complete()
    }
    if (run_id === this.#root && name.endsWith('_end')) this.#report.complete()
    return this.#readData(name, run_id, fieldsOf(data))
  }

  #readData (name: string, run: unknown, { chunk, output }: Fields): string {
    switch (name) {
      case 'on_chat_model_stream':
      case 'on_llm_stream': {
        this.#streamed.add(run)
        const message = modelMessageOf(chunk)
        return message === undefined ? stringOf(fieldsOf(chunk).text) : readMessage(message, this.#report)
      }
      case 'on_chat_model_end': {
        const message = modelMessageOf(output)
        if (message === undefined) return ''
        addUsage(message, this.#report)
        const text = readMessage(message, this.#report)
        return this.#streamed.has(run) ? '' : text
      }
      case 'on_chain_stream':
        if (fieldsOf(chunk)[INTERRUPT] !== undefined) this.#report.finish('interrupt', INTERRUPTED)
        return ''
      // A tool's error is the model's to handle. What the run itself fails with is thrown.
      default: return ''
    }
  }
}
