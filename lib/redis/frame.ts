import type { TextSlice } from '../streams/broker.js'

/** A message as the functions write it: see `lua/publish.ts`. */
export interface Frame {
  readonly epoch: string
  readonly revision: number
  /** The latest number of the stream. That of the message, if it is durable. */
  readonly seq: number
  readonly durable: boolean
  readonly supersedes: boolean
  /** Whether it is the end of its job, real or presumed. */
  readonly isEnd: boolean
  readonly jobId: string | undefined
  /** The part of the job's text that the message adds. The kept part of it may begin later. */
  readonly text: { readonly from: number, readonly to: number, readonly kept: TextSlice } | undefined
  readonly body: Buffer
}

const NEWLINE = 0x0a
const [DURABLE, SUPERSEDES, HAS_TEXT, HAS_JOB, IS_END] = [1, 2, 4, 8, 16]

export function parseFrame (bytes: Buffer): Frame {
  const end = bytes.indexOf(NEWLINE)
  const [epoch = '', ...numbers] = bytes.toString('latin1', 0, end).split(' ')
  const [revision = 0, seq = 0, , flags = 0, idBytes = 0, from = 0, to = 0, offset = from] = numbers.map(Number)
  const idEnd = end + 1 + idBytes
  const textEnd = idEnd + 2 * (to - offset)
  return {
    epoch,
    revision,
    seq,
    durable: (flags & DURABLE) !== 0,
    supersedes: (flags & SUPERSEDES) !== 0,
    isEnd: (flags & IS_END) !== 0,
    jobId: (flags & HAS_JOB) === 0 ? undefined : bytes.toString('utf8', end + 1, idEnd),
    text: (flags & HAS_TEXT) === 0
      ? undefined
      : { from, to, kept: { text: bytes.toString('utf16le', idEnd, textEnd), offset, truncated: offset > from } },
    body: bytes.subarray(textEnd)
  }
}
