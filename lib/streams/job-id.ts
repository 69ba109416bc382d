import { randomUUID } from 'node:crypto'

/** An id for a job that was given none. Node puts a UUID together of pieces, and V8 would keep them: 480 bytes instead of 58. */
export function newJobId (): string {
  return Buffer.from(randomUUID(), 'latin1').toString('latin1')
}
