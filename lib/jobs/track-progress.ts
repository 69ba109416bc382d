import type { Timer } from '../util/clock.js'
import type { AIProgress } from '../protocol/messages.js'
import type { SharedTimers } from './shared-timers.js'

export interface TrackProgressOptions {
  readonly timers: SharedTimers
  /** Minimum time between two progress reports, in milliseconds. 0 sends one for each chunk. */
  readonly throttleMs: number
  /** Whether a progress carries the text. */
  readonly sendText: boolean
  readonly send: (progress: AIProgress & { delta?: string }) => void
  /** Called for a chunk that is reported later. */
  readonly keepAlive: () => void
}

/**
 * Counts the chunks and text of a stream, and reports its progress at most once per `throttleMs`. Reports the first chunk at
 * once, and later ones when the time is up, even if no further chunk arrives.
 */
export class TrackProgress {
  readonly #options: TrackProgressOptions
  #chunks = 0
  #contentLength = 0
  /** Text that was not sent yet. */
  #text = ''
  #isPending = false
  #dueAt = -Infinity
  #timer: Timer | undefined

  constructor (options: TrackProgressOptions) {
    this.#options = options
  }

  get chunks (): number {
    return this.#chunks
  }

  get contentLength (): number {
    return this.#contentLength
  }

  /** Counts a chunk and its text. */
  add (text: string): void {
    this.#chunks++
    this.#addText(text)
    const { timers, keepAlive } = this.#options
    // Also checks the clock for each chunk, because no timer fires while the source is synchronous.
    if (timers.monotonic() >= this.#dueAt) {
      this.#send(false)
    } else {
      this.#timer ??= timers.at(this.#dueAt, () => { this.#send(false) })
      keepAlive()
    }
  }

  /** Reports the pending progress. `rest` is text that belongs to no chunk. */
  end (rest = ''): void {
    if (rest !== '') this.#addText(rest)
    if (this.#isPending) this.#send(true)
  }

  #addText (text: string): void {
    this.#contentLength += text.length
    if (this.#options.sendText) this.#text += text
    this.#isPending = true
  }

  #send (isLast: boolean): void {
    const { timers, throttleMs, send } = this.#options
    this.#timer?.cancel()
    this.#timer = undefined
    this.#dueAt = timers.next(this.#dueAt, throttleMs)
    // Half a surrogate pair is not a valid character, and some parsers replace it. So it waits for its other half.
    const end = !isLast && endsInHalf(this.#text) ? this.#text.length - 1 : this.#text.length
    const delta = this.#text.slice(0, end)
    this.#text = this.#text.slice(end)
    this.#isPending = this.#text !== ''
    send({ chunksReceived: this.#chunks, contentLength: this.#contentLength, ...(delta !== '' && { delta }) })
  }
}

function endsInHalf (text: string): boolean {
  const last = text.charCodeAt(text.length - 1)
  return last >= 0xd800 && last <= 0xdbff
}
