import type { KeptPublication } from './kept-publication.js'

/** The parts of a progress that late subscribers need. */
export interface Progress {
  readonly body: string
  readonly revision: number
  readonly shortForm?: KeptPublication | undefined
}

/** Estimated memory without the buffer's content, in bytes. Measured: 200 bytes, without the allocator's own overhead. */
const BASE_BYTES = 384
/** The buffer's size is a multiple of this, with some spare room for a progress that grows. */
const STEP_BYTES = 64
const GROWTH = 9 / 8
/** A buffer of more than this many times the needed size is replaced by a smaller one. */
const SHRINK_ABOVE = 4

const EMPTY = Buffer.alloc(0)

/**
 * Keeps the newest progress of a job, for late subscribers. Each progress overwrites the previous one in a buffer of the
 * job's own. A kept string would live until the next progress, long enough for the garbage collector to move it to the old
 * generation. Copied into a buffer, each string dies young, which costs almost nothing (benchmark row `latest-progress`).
 */
export class LatestProgress implements Progress {
  revision = 0
  shortForm: KeptPublication | undefined
  #buffer = EMPTY
  #length = 0

  constructor (progress: Progress) {
    this.write(progress)
  }

  write ({ body, revision, shortForm }: Progress): void {
    const length = Buffer.byteLength(body)
    const capacity = this.#buffer.length
    const fits = length <= capacity && capacity <= (length + STEP_BYTES) * SHRINK_ABOVE
    const buffer = fits ? this.#buffer : Buffer.allocUnsafeSlow(Math.ceil(length * GROWTH / STEP_BYTES) * STEP_BYTES)
    buffer.write(body)
    this.#buffer = buffer
    this.#length = length
    this.revision = revision
    this.shortForm = shortForm
  }

  /** Shrinks the buffer to the current length. */
  trim (): void {
    const buffer = Buffer.allocUnsafeSlow(this.#length)
    this.#buffer.copy(buffer)
    this.#buffer = buffer
  }

  get body (): string {
    return this.#buffer.toString('utf8', 0, this.#length)
  }

  /** Estimated memory, in bytes. */
  get bytes (): number {
    return BASE_BYTES + this.#buffer.length + (this.shortForm?.bytes ?? 0)
  }
}
