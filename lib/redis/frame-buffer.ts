import type { Frame } from './frame.js'

/** Messages that may wait, and their size in bytes. */
const MAX_FRAMES = 10_000
const MAX_BYTES = 8 * 1024 * 1024

/** Messages that wait until the position of their stream is known. Beyond its limits, the oldest are found to be missing later. */
export class FrameBuffer {
  readonly #frames: Frame[] = []
  #bytes = 0

  constructor (frames: readonly Frame[] = []) {
    for (const frame of frames) this.push(frame)
  }

  get frames (): readonly Frame[] {
    return this.#frames
  }

  push (frame: Frame): void {
    this.#frames.push(frame)
    this.#bytes += sizeOf(frame)
    while (this.#frames.length > MAX_FRAMES || (this.#bytes > MAX_BYTES && this.#frames.length > 1)) {
      for (const oldest of this.#frames.splice(0, 1)) this.#bytes -= sizeOf(oldest)
    }
  }
}

function sizeOf ({ body, text }: Frame): number {
  return body.length + 2 * (text?.kept.text.length ?? 0)
}
