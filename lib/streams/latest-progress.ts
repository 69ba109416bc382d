import type { KeptPublication } from './kept-publication.js'

/** A progress as late readers need it: what it says, where it is in the stream, and where in it a text may be put in. */
export interface Progress {
  readonly body: string
  readonly revision: number
  readonly textAt?: number | undefined
  readonly stub?: KeptPublication | undefined
}

/** What it costs beside its memory: 200 bytes were measured, and what the system keeps of each buffer shows nowhere. */
const OWN_BYTES = 384
/** Memory is taken in steps, with some room for a progress that grows. */
const STEP_BYTES = 64
const ROOM = 9 / 8
/** More than so many times what is needed is given back. */
const TOO_MUCH = 4

const NOTHING = Buffer.alloc(0)

/**
 * The newest progress of a job, for those who come late. Each is written over the one before, in memory of the job's own.
 * A string would be kept until the next one comes, and by then the garbage collector has moved it about; like this each dies
 * young, which costs next to nothing.
 */
export class LatestProgress implements Progress {
  revision = 0
  textAt: number | undefined
  stub: KeptPublication | undefined
  #memory = NOTHING
  #length = 0

  constructor (progress: Progress) {
    this.write(progress)
  }

  write ({ body, revision, textAt, stub }: Progress): void {
    const length = Buffer.byteLength(body)
    const capacity = this.#memory.length
    const fits = length <= capacity && capacity <= (length + STEP_BYTES) * TOO_MUCH
    const memory = fits ? this.#memory : Buffer.allocUnsafeSlow(Math.ceil(length * ROOM / STEP_BYTES) * STEP_BYTES)
    memory.write(body)
    this.#memory = memory
    this.#length = length
    this.revision = revision
    this.textAt = textAt
    this.stub = stub
  }

  /** Gives back what it does not need at present. */
  trim (): void {
    const memory = Buffer.allocUnsafeSlow(this.#length)
    this.#memory.copy(memory)
    this.#memory = memory
  }

  get body (): string {
    return this.#memory.toString('utf8', 0, this.#length)
  }

  /** What it takes, in bytes. */
  get bytes (): number {
    return OWN_BYTES + this.#memory.length + (this.stub?.bytes ?? 0)
  }
}
