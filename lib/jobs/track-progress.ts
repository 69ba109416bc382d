import type { Timer } from '../util/clock.js'
import type { AIProgress } from '../protocol/messages.js'
import type { SharedTimers } from './shared-timers.js'

export interface TrackProgressOptions {
  readonly timers: SharedTimers
  /** One progress in so long, in milliseconds. Zero: one for each chunk. */
  readonly throttleMs: number
  /** Whether a progress carries the text itself. */
  readonly sendText: boolean
  readonly send: (progress: AIProgress & { delta?: string }) => void
  /** A chunk came that is told later. */
  readonly keepAlive: () => void
}

/**
 * How far a stream is, told at most each `throttleMs`. The first chunk is told at once, the ones after it when their
 * time has come, also when no chunk follows.
 */
export class TrackProgress {
  readonly #options: TrackProgressOptions
  #chunks = 0
  #contentLength = 0
  /** The text that was not sent yet. */
  #text = ''
  #isUntold = false
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
    // Asked of the clock each time too: a source that never waits lets no timer fire.
    if (timers.monotonic() >= this.#dueAt) {
      this.#send(false)
    } else {
      this.#timer ??= timers.at(this.#dueAt, () => { this.#send(false) })
      keepAlive()
    }
  }

  /** Tells what was not told yet, `rest` included: text that came with no chunk of its own. */
  end (rest = ''): void {
    if (rest !== '') this.#addText(rest)
    if (this.#isUntold) this.#send(true)
  }

  #addText (text: string): void {
    this.#contentLength += text.length
    if (this.#options.sendText) this.#text += text
    this.#isUntold = true
  }

  #send (isLast: boolean): void {
    const { timers, throttleMs, send } = this.#options
    this.#timer?.cancel()
    this.#timer = undefined
    this.#dueAt = timers.next(this.#dueAt, throttleMs)
    // Half a surrogate pair is no character, and does not survive everywhere: it waits for its other half.
    const end = !isLast && endsInHalf(this.#text) ? this.#text.length - 1 : this.#text.length
    const delta = this.#text.slice(0, end)
    this.#text = this.#text.slice(end)
    this.#isUntold = this.#text !== ''
    send({ chunksReceived: this.#chunks, contentLength: this.#contentLength, ...(delta !== '' && { delta }) })
  }
}

function endsInHalf (text: string): boolean {
  const last = text.charCodeAt(text.length - 1)
  return last >= 0xd800 && last <= 0xdbff
}
