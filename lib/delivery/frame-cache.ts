import type { Clock, Timer } from '../util/clock.js'
import type { Replayed } from '../protocol/messages.js'
import type { Frame } from './frame.js'

/** How long frames are cached after the first of them was made, in milliseconds. */
const KEEP_MS = 1_000
/** Maximum bytes of cached frames. They come on top of the history's memory, so the cache is small and short-lived. */
const MAX_BYTES = 8 * 1024 * 1024
/** Estimated memory of a cached frame without its bytes: objects, a buffer, its map entry. */
const FRAME_BYTES = 512

/** The value of `replayed` in a frame. The frames of live messages have no such field. */
export type Mark = Replayed | 'live'

interface CachedFrame {
  readonly source: object
  readonly revision: number | undefined
  readonly frame: Frame
}

/**
 * Caches frames of replayed messages. After a deploy or a network outage, many clients reconnect at once and request the same
 * messages. Each message is encoded and compressed once for all of them.
 */
export class FrameCache {
  readonly #clock: Clock
  readonly #frames: Record<Mark, Map<unknown, CachedFrame>> = { live: new Map(), snapshot: new Map(), missed: new Map() }
  #bytes = 0
  #timer: Timer | undefined

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /**
   * Returns the cached frame with this mark and key, if it was made from the same source at the same revision. Otherwise
   * returns and caches a new one from `make`. A job with the same id in the stream's next epoch has another source.
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
    // Clears all at once: finding the oldest entry of a large Map is slow, and all entries expire soon anyway.
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
