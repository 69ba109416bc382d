import type { Publication, Stream, TextSpan } from '../broker/broker.js'
import type { Clock, Timer } from '../clock.js'
import type { Frame } from './frame.js'

/** How long texts are kept after the first of them was asked for, in milliseconds. */
const KEEP_MS = 1_000
/** Bytes of frames that are kept at most. They come on top of what history keeps, so they are few and go soon. */
const MAX_BYTES = 8 * 1024 * 1024

interface Present {
  readonly text: TextSpan
  readonly revision: number
  readonly frame: Frame
  readonly bytes: number
}

/**
 * The texts of jobs as they were framed for those who came late. Many tabs come back at once, after a deploy or a lecture's
 * break, and all ask for the same: it is cut, escaped and deflated once for all, until the text has grown.
 */
export class PresentFrames {
  readonly #clock: Clock
  /** By stream, job, and where the reader's text ends; the oldest first. */
  readonly #frames = new Map<string, Present>()
  #bytes = 0
  #timer: Timer | undefined

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /** The frame with the text from a place on: one that was made before, or else the one that `make` makes. */
  frame (stream: Stream, { jobId, revision }: Publication, text: TextSpan, from: number, make: () => Frame): Frame {
    const key = JSON.stringify([stream, jobId, from])
    const known = this.#frames.get(key)
    // The text of a job with the same id in the stream's next life is another object.
    if (known?.text.source === text.source && known.text.to === text.to && known.revision === revision) return known.frame
    if (known !== undefined) this.#remove(key, known)
    const frame = make()
    this.#keep(key, { text, revision, frame, bytes: frame.bytes(false).length })
    return frame
  }

  #keep (key: string, present: Present): void {
    if (present.bytes > MAX_BYTES) return
    for (const [key, oldest] of this.#frames) {
      if (this.#bytes + present.bytes <= MAX_BYTES) break
      this.#remove(key, oldest)
    }
    this.#frames.set(key, present)
    this.#bytes += present.bytes
    this.#timer ??= this.#clock.after(KEEP_MS, () => {
      this.#timer = undefined
      this.#frames.clear()
      this.#bytes = 0
    })
  }

  #remove (key: string, { bytes }: Present): void {
    this.#frames.delete(key)
    this.#bytes -= bytes
  }
}
