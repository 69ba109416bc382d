import type { Clock, Timer } from '../util/clock.js'
import type { AIProgress } from '../protocol/messages.js'

export interface TrackProgressOptions {
  readonly clock: Clock
  /** Minimum time between two progress reports, in milliseconds. 0 sends one for each chunk. */
  readonly throttleMs: number
  /** Whether a progress carries the text. */
  readonly sendText: boolean
  readonly send: (progress: AIProgress & { delta?: string }) => void
  /** Called for a chunk that is reported later. */
  readonly keepAlive: () => void
}

/** Maximum step between the times that jobs share, in milliseconds. */
const MAX_STEP_MS = 10
/** Maximum step between these times, as a fraction of the interval. */
const STEP_SHARE = 0.1
/** Floating-point tolerance, as a fraction of a step. */
const TOLERANCE = 1e-6

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
    const { clock, keepAlive } = this.#options
    // Also checks the clock for each chunk, because no timer fires while the source is synchronous.
    const leftMs = this.#dueAt - clock.monotonic()
    if (leftMs <= 0) {
      this.#send(false)
    } else {
      this.#timer ??= clock.after(leftMs, () => { this.#send(false) })
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
    const { clock, throttleMs, send } = this.#options
    this.#timer?.cancel()
    this.#timer = undefined
    this.#dueAt = nextDue(clock.monotonic(), this.#dueAt, throttleMs)
    // Half a surrogate pair is not a valid character, and some parsers replace it. So it waits for its other half.
    const end = !isLast && endsInHalf(this.#text) ? this.#text.length - 1 : this.#text.length
    const delta = this.#text.slice(0, end)
    this.#text = this.#text.slice(end)
    this.#isPending = this.#text !== ''
    send({ chunksReceived: this.#chunks, contentLength: this.#contentLength, ...(delta !== '' && { delta }) })
  }
}

/**
 * Returns the next due time of a task that runs now, was due at `dueAt`, and repeats every `everyMs`. It is a multiple of a
 * step, so that the reports of many jobs leave in one turn of the event loop, with one write to a client that is subscribed to
 * several of them. A small delay of one run does not shift the following ones.
 */
export function nextDue (now: number, dueAt: number, everyMs: number): number {
  const step = Math.min(MAX_STEP_MS, everyMs * STEP_SHARE)
  const due = (now - dueAt < step ? dueAt : now) + everyMs
  return step > 0 ? Math.ceil(due / step - TOLERANCE) * step : due
}

function endsInHalf (text: string): boolean {
  const last = text.charCodeAt(text.length - 1)
  return last >= 0xd800 && last <= 0xdbff
}
