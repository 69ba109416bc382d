import type { StreamReport } from './report.js'

/** Properties of a chunk, or of a value inside it. They are untyped, because providers may send anything. */
export type Fields = Readonly<Record<string, unknown>>

/** Reads one chunk: returns the text that it adds, '' for none, or undefined for a chunk that is not of the protocol. */
export type ReadChunk = (chunk: Fields) => string | undefined

/**
 * Adapter of one stream protocol: interprets the chunks of one provider or SDK. The first chunk that a protocol recognises
 * selects it for the rest of the stream.
 */
export interface StreamProtocol {
  readonly name: string
  /**
   * Whether a chunk belongs to this protocol. Called for each chunk until one is recognised, so it must take only a lookup or
   * two.
   */
  recognises (chunk: Fields): boolean
  /**
   * Whether a recognised chunk has a shape that other streams have too. Such a chunk selects the protocol only provisionally:
   * until an unambiguous chunk follows, each further chunk must be recognised too.
   */
  isCommon?(chunk: Fields): boolean
  /** Starts to read one stream. Called once per job. `read` writes everything except the text to the report. */
  open (report: StreamReport): ReadChunk
  /**
   * Meaning of a stream that ends without the protocol's last event. `incomplete`: the job fails. `unknown`: some hosts omit
   * that event, so the job completes with the finish reason `unknown`.
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
