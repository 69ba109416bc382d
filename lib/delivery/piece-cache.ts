import type { TextSpan } from '../broker/broker.js'
import type { Clock, Timer } from '../clock.js'
import type { Frame } from './frame.js'

/** How long frames are kept after the first of them was made, in milliseconds. */
const KEEP_MS = 1_000
/** Bytes of frames that are kept at most. They come on top of what history keeps, so they are few and go soon. */
const MAX_BYTES = 8 * 1024 * 1024

interface Kept {
  readonly source: TextSpan['source']
  readonly revision: number | undefined
  readonly frame: Frame
  readonly bytes: number
}

/**
 * Frames with pieces of jobs' texts, shared by the readers that need the same ones. Many tabs reconnect at once, after a
 * deploy or a lecture's break, and all ask for the same text: each piece is cut, escaped and deflated once for all of them.
 */
export class PieceCache {
  readonly #clock: Clock
  /** By name; the oldest first. */
  readonly #frames = new Map<string, Kept>()
  #bytes = 0
  #timer: Timer | undefined

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /**
   * Returns the frame with this name if it was made of the same text, and at the same revision; otherwise the one that
   * `make` returns. A text with the same name in the stream's next epoch is another object.
   */
  frame (name: string, source: TextSpan['source'], revision: number | undefined, make: () => Frame): Frame {
    const known = this.#frames.get(name)
    if (known?.source === source && known.revision === revision) return known.frame
    if (known !== undefined) this.#remove(name, known)
    const frame = make()
    this.#keep(name, { source, revision, frame, bytes: frame.bytes(false).length })
    return frame
  }

  #keep (name: string, kept: Kept): void {
    if (kept.bytes > MAX_BYTES) return
    for (const [oldestName, oldest] of this.#frames) {
      if (this.#bytes + kept.bytes <= MAX_BYTES) break
      this.#remove(oldestName, oldest)
    }
    this.#frames.set(name, kept)
    this.#bytes += kept.bytes
    this.#timer ??= this.#clock.after(KEEP_MS, () => {
      this.#timer = undefined
      this.#frames.clear()
      this.#bytes = 0
    })
  }

  #remove (name: string, { bytes }: Kept): void {
    this.#frames.delete(name)
    this.#bytes -= bytes
  }
}
