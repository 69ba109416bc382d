import { INTERRUPT, INTERRUPTED } from './langchain-events.js'
import { addUsage, isMessage, modelMessageOf, readMessage } from './langchain-message.js'
import { arrayOf, fieldsOf, type Fields, type StreamProtocol } from './protocol.js'
import type { StreamReport } from './report.js'

const MODES: ReadonlySet<unknown> = new Set(['messages', 'updates', 'values', 'custom', 'debug', 'tasks', 'checkpoints', 'tools'])

/** Maximum number of channels of an update that are searched for messages. */
const MAX_CHANNELS = 20

/**
 * The output of `.stream()` of a LangGraph graph: in the modes `messages`, `updates` and `values`, in several modes
 * (`[mode, data]`), and with `subgraphs` (`[namespace, mode, data]`). A message adds its text once, even if several modes,
 * nodes and subgraphs emit it. Other modes add no text. https://docs.langchain.com/oss/javascript/langgraph/streaming
 */
export const langGraph: StreamProtocol = {
  name: 'LangGraph',
  recognises: isGraphChunk,
  open: (report) => {
    const graph = new GraphMessages(report)
    // Only a stream of OpenAI responses has a last chunk.
    report.complete()
    return (chunk) => graph.read(chunk)
  },
  missingEnd: 'incomplete'
}

function isGraphChunk (chunk: unknown): boolean {
  if (!Array.isArray(chunk)) return isState(fieldsOf(chunk)) || isUpdate(fieldsOf(chunk))
  const [first, second] = chunk as readonly unknown[]
  if (Array.isArray(first)) return chunk.length === 3 ? MODES.has(second) : chunk.length === 2 && isGraphChunk(second)
  return chunk.length === 2 && fieldsOf(second) === second && (MODES.has(first) || isMessage(first))
}

/** Whether a value is the whole state, which contains the messages directly. */
function isState (chunk: Fields): boolean {
  return isMessage(arrayOf(chunk.messages)[0])
}

/** Whether a value is a node's update, `{ node: { messages } }`. Checks only the first key. */
function isUpdate (chunk: Fields): boolean {
  for (const node in chunk) return node === INTERRUPT || hasMessages(fieldsOf(chunk[node]))
  return false
}

function hasMessages (update: Fields): boolean {
  // A byte array has its indices as keys.
  if (ArrayBuffer.isView(update)) return false
  let channels = 0
  for (const channel in update) {
    const value = update[channel]
    if (isMessage(value) || isMessage(arrayOf(value)[0])) return true
    if (++channels === MAX_CHANNELS) return false
  }
  return false
}

class GraphMessages {
  readonly #report: StreamReport
  /** Messages that arrived in pieces, by id, or by the message itself if it has no id. */
  readonly #streamed = new Map<unknown, boolean>()
  #hasState = false

  constructor (report: StreamReport) {
    this.#report = report
  }

  read (chunk: unknown): string | undefined {
    if (!Array.isArray(chunk)) return this.#readWhole(fieldsOf(chunk))
    const parts: readonly unknown[] = Array.isArray(chunk[0]) ? chunk.slice(1) : chunk
    const [first, second] = parts
    if (parts.length === 1) return this.read(first)
    if (typeof first !== 'string') return this.#readPiece(first)
    if (first === 'messages') return this.#readPiece(arrayOf(second)[0])
    return first === 'updates' || first === 'values' ? this.#readWhole(fieldsOf(second), first) : ''
  }

  /** Reads a chunk of a message, or a whole message that was not streamed. */
  #readPiece (value: unknown): string {
    const message = modelMessageOf(value)
    if (message === undefined) return ''
    const key = message.id ?? value
    if (this.#streamed.get(key) === false) return ''
    this.#streamed.set(key, true)
    addUsage(message, this.#report)
    return readMessage(message, this.#report)
  }

  #readWhole (chunk: Fields, mode = isState(chunk) ? 'values' : 'updates'): string {
    if (chunk[INTERRUPT] !== undefined) {
      this.#report.finish('interrupt', INTERRUPTED)
      return ''
    }
    if (mode === 'updates') return Object.values(chunk).map((update) => this.#readUpdate(update)).join('')
    // The state before the run: the conversation so far.
    if (!this.#hasState) this.#eachMessage(chunk, (key) => { if (!this.#streamed.has(key)) this.#streamed.set(key, false) })
    this.#hasState = true
    return this.#readMessages(chunk)
  }

  #readUpdate (update: unknown): string {
    return Array.isArray(update) ? update.map((each) => this.#readMessages(fieldsOf(each))).join('') : this.#readMessages(fieldsOf(update))
  }

  #readMessages (channels: Fields): string {
    let text = ''
    this.#eachMessage(channels, (key, message) => {
      if (this.#streamed.has(key)) return
      this.#streamed.set(key, false)
      addUsage(message, this.#report)
      text += readMessage(message, this.#report)
    })
    return text
  }

  #eachMessage (channels: Fields, call: (key: unknown, message: Fields) => void): void {
    for (const channel of Object.values(channels)) {
      for (const value of Array.isArray(channel) ? channel as readonly unknown[] : [channel]) {
        const message = modelMessageOf(value)
        if (message !== undefined) call(message.id ?? value, message)
      }
    }
  }
}
