import { describeError } from '../../lib/jobs/ai-error.js'
import { StreamReader } from '../../lib/jobs/stream-protocols/reader.js'

/** How a job ends whose stream has these chunks. */
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

/** The text that each chunk adds, and at last the text that was held back. */
readChunks.pieces = (chunks: readonly unknown[]): string[] => {
  const reader = new StreamReader()
  return [...chunks.map((chunk) => reader.read(chunk)), reader.end()]
}
