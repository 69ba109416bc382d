import { randomUUID } from 'node:crypto'

/**
 * Returns a new job id. The copy flattens the string: Node builds a UUID from pieces, which V8 keeps until the id is first
 * written into a message (benchmark row `job-id`).
 */
export function newJobId (): string {
  return Buffer.from(randomUUID(), 'latin1').toString('latin1')
}
