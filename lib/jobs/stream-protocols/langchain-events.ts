import { addUsage, modelMessageOf, readMessage } from './langchain-message.js'
import { fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

/** Sent by a graph that waits for a person. */
export const INTERRUPT = '__interrupt__'
export const INTERRUPTED: FinishReasons = { interrupt: 'pause' }

/**
 * LangChain's `streamEvents`, versions v2 and v1. The text comes from the models' own events. Chains, parsers and graphs
 * repeat it, so their events are ignored. https://docs.langchain.com/oss/javascript/langchain/streaming
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
  /** Model runs whose text arrived in pieces. */
  readonly #streamed = new Set<unknown>()
  #isFirst = true
  /** The outermost run, which starts first and ends last. Undefined if its events are filtered out. */
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
      // The model handles a tool's error. An error of the run itself is thrown.
      default: return ''
    }
  }
}
