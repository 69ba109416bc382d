import type { Clock, Timer } from '../util/clock.js'
import type { Replayed } from '../protocol/messages.js'
import type { Frame } from './frame.js'

/** How long frames are kept after the first of them was made, in milliseconds. */
const KEEP_MS = 1_000
/** Bytes of frames that are kept at most. They come on top of what history keeps, so they are few and go soon. */
const MAX_BYTES = 8 * 1024 * 1024
/** What a kept frame costs beside its bytes: objects, a buffer, its place here. */
const FRAME_BYTES = 512

/** What the frames of one message differ in: live ones are not marked, those from the past are. */
export type Mark = Replayed | 'live'

interface Kept {
  readonly source: object
  readonly revision: number | undefined
  readonly frame: Frame
}

/**
 * Frames of the past, shared by the readers that need the same ones. Many tabs reconnect at once, after a deploy or a
 * lecture's break, and all ask for the same messages: each is made, escaped and deflated once for all of them.
 */
export class FrameCache {
  readonly #clock: Clock
  readonly #frames: Record<Mark, Map<unknown, Kept>> = { live: new Map(), snapshot: new Map(), missed: new Map() }
  #bytes = 0
  #timer: Timer | undefined

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /**
   * Returns the frame with this mark and key if it was made of the same source, and at the same revision; otherwise the one
   * that `make` returns. The text of a job with the same name in the stream's next epoch is another source.
   */
  frame (mark: Mark, key: unknown, source: object, revision: number | undefined, make: () => Frame): Frame {
    const frames = this.#frames[mark]
    const known = frames.get(key)
    if (known?.source === source && known.revision === revision) return known.frame
    if (known !== undefined) {
      frames.delete(key)
      this.#bytes -= cost(known.frame)
    }
    const frame = make()
    const bytes = cost(frame)
    if (bytes > MAX_BYTES) return frame
    // All at once: the oldest one of a large Map takes long to find, and they would soon have gone anyway.
    if (this.#bytes + bytes > MAX_BYTES) this.#clear()
    frames.set(key, { source, revision, frame })
    this.#bytes += bytes
    this.#timer ??= this.#clock.after(KEEP_MS, () => {
      this.#timer = undefined
      this.#clear()
    })
    return frame
  }

  #clear (): void {
    for (const frames of Object.values(this.#frames)) frames.clear()
    this.#bytes = 0
  }
}

function cost (frame: Frame): number {
  return frame.bytes(false).length + FRAME_BYTES
}
