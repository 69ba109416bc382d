import { randomUUID } from 'node:crypto'

/** Returns a new job id. The copy flattens the string: Node builds a UUID from pieces, and V8 would keep 480 bytes, not 58. */
export function newJobId (): string {
  return Buffer.from(randomUUID(), 'latin1').toString('latin1')
}
