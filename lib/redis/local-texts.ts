import type { TextSlice, TextSource } from '../streams/broker.js'
import { JobText } from '../streams/job-text.js'

/** A part of a text that does not change any more. */
export class FixedText implements TextSource {
  readonly end: number
  readonly units: number
  readonly #text: string
  readonly #begin: number

  constructor (text: string, begin: number) {
    this.#text = text
    this.#begin = begin
    this.end = begin + text.length
    this.units = text.length
  }

  slice (from: number, to = this.end): TextSlice {
    const offset = Math.max(this.#begin, Math.min(from, to))
    return { text: this.#text.slice(offset - this.#begin, Math.max(0, to - this.#begin)), offset, truncated: offset > from }
  }
}

/**
 * The texts of the running jobs of one stream, as far as this node has received them. The delivery layer needs them for a slow
 * consumer: its newest progress contains the text of those that it replaces.
 */
export class LocalTexts {
  readonly #maxUnits: number
  readonly #texts = new Map<string, JobText>()

  constructor (maxUnits: number) {
    this.#maxUnits = maxUnits
  }

  /** Adds a piece. Returns the text that it belongs to. */
  add (jobId: string, { text, offset }: TextSlice): TextSource {
    let known = this.#texts.get(jobId)
    if (known === undefined) this.#texts.set(jobId, known = new JobText(this.#maxUnits, offset))
    // A text that is shorter is another one.
    if (offset > known.end || offset + text.length < known.end) known.skipTo(offset)
    known.append(text.slice(known.end - offset), true)
    return known
  }

  /** Forgets a job that has ended. Deliveries that are still queued keep its text. */
  delete (jobId: string): void {
    this.#texts.delete(jobId)
  }

  clear (): void {
    this.#texts.clear()
  }

  /** Returns the lengths of the texts, which need not be requested again. */
  get lengths (): Map<string, number> {
    return new Map([...this.#texts].map(([jobId, { end }]) => [jobId, end]))
  }
}
