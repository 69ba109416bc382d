/** A progress, as much of it as late readers need: where it is in the stream, and where in it a text may be put in. */
export interface Progress {
  readonly body: string
  readonly revision: number
  readonly textAt?: number | undefined
}

/** What it costs beside its memory: 200 bytes were measured, and what the system keeps of each buffer shows nowhere. */
const OWN_BYTES = 384
/** Memory is taken in steps, with some room for a progress that grows, and given back when so much of it is too much. */
const STEP_BYTES = 64
const ROOM = 9 / 8
const TOO_MUCH = 4

/**
 * The newest progress of a job, for those who come late. Each is written over the one before, in memory of the job's own:
 * strings that live just until the next one comes would be most of what there is to collect as garbage.
 */
export class LatestProgress implements Progress {
  revision = 0
  textAt: number | undefined
  #memory = Buffer.alloc(0)
  #length = 0

  write ({ body, revision, textAt }: Progress): void {
    this.revision = revision
    this.textAt = textAt
    this.#length = Buffer.byteLength(body)
    const capacity = this.#memory.length
    if (capacity < this.#length || capacity > (this.#length + STEP_BYTES) * TOO_MUCH) {
      this.#memory = Buffer.allocUnsafeSlow(Math.ceil(this.#length * ROOM / STEP_BYTES) * STEP_BYTES)
    }
    this.#memory.write(body)
  }

  get body (): string {
    return this.#memory.toString('utf8', 0, this.#length)
  }

  /** What it takes, in bytes. */
  get bytes (): number {
    return OWN_BYTES + this.#memory.length
  }
}
