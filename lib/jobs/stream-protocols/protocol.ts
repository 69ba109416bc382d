import type { StreamReport } from './report.js'

/** The properties of a chunk, or of a value inside it. Providers send what they like, so none has a type. */
export type Fields = Readonly<Record<string, unknown>>

/** Reads one chunk: returns the text that it adds, '' for none, or undefined for a chunk that is not of the protocol. */
export type ReadChunk = (chunk: Fields) => string | undefined

/**
 * The adapter of one stream protocol: what the chunks of one provider or SDK mean. The first chunk that a protocol
 * recognises selects it for the rest of the stream.
 */
export interface StreamProtocol {
  readonly name: string
  /** Whether a chunk is of this protocol. Called for each chunk until one is recognised, so it must cost a look-up or two. */
  recognises (chunk: Fields): boolean
  /**
   * Whether a chunk that it recognises is of a shape that streams of other kinds have, too. Such a chunk selects the protocol
   * only for as long as it recognises each chunk that follows, up to the first one that no other kind of stream has.
   */
  isCommon?(chunk: Fields): boolean
  /** Begins to read one stream. Called once per job; what `read` learns beside the text goes to the report. */
  open (report: StreamReport): ReadChunk
  /**
   * What a stream means that ends without the protocol's last event. `incomplete`: it was cut off, and the job failed.
   * `unknown`: some hosts leave that event out, so the job is complete and its finish reason is `unknown`.
   */
  readonly missingEnd: 'incomplete' | 'unknown'
}

const NO_FIELDS: Fields = Object.freeze({})

/** Returns the value if it is an object, otherwise one without properties. */
export function fieldsOf (value: unknown): Fields {
  return typeof value === 'object' && value !== null ? value as Fields : NO_FIELDS
}

/** Returns the value if it is a string, otherwise the empty one. */
export function stringOf (value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** Returns the value if it is an array, otherwise an empty one. */
export function arrayOf (value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
