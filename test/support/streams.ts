import { describeError } from '../../lib/jobs/ai-error.js'
import { StreamReader } from '../../lib/jobs/stream-protocols/reader.js'

/** The end of a job whose stream consists of the given chunks. */
export interface StreamEnd {
  readonly status: 'complete' | 'error'
  readonly text: string
  /** The fields of the result, or of the error. */
  readonly [field: string]: unknown
}

export function readChunks (chunks: readonly unknown[]): StreamEnd {
  const reader = new StreamReader()
  const text = chunks.map((chunk) => reader.read(chunk)).join('') + reader.end()
  const { failure, result } = reader.report
  return failure === undefined ? { status: 'complete', text, ...result } : { status: 'error', text, ...describeError(failure) }
}

/** Returns the text that each chunk adds, followed by the text that was held back. */
readChunks.pieces = (chunks: readonly unknown[]): string[] => {
  const reader = new StreamReader()
  return [...chunks.map((chunk) => reader.read(chunk)), reader.end()]
}
