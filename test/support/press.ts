import type { PublishOptions, Stream } from '../../lib/streams/broker.js'
import { durable, report } from '../../lib/testing/reports.js'

/** The `maxTotalBytes` with which `press` works. It is so high that a stream of some KiB does not count as a large one. */
export const PRESSED_BYTES = 16 * 1024 * 1024

/**
 * Number of groups of streams. Lives are counted per group, so when a stream is forgotten, the next epoch of the other streams
 * in its group changes too. Tests that compare epochs need names of streams that share no group with theirs.
 */
const LIFE_GROUPS = 16_384
const THEIRS: readonly Stream[] = ['session:a', 'session:b', 'user:u']

let pressed = 0

function group (stream: Stream): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % LIFE_GROUPS
}

const theirGroups = new Set(THEIRS.map(group))

function nextStream (): Stream {
  const stream: Stream = `session:pressing ${pressed++}`
  return theirGroups.has(group(stream)) ? nextStream() : stream
}

/**
 * Publishes so much to other sessions that all existing streams lose their messages, or also what their jobs have left. Then
 * frees some space, so that the next publishes evict nothing.
 */
export function press (publish: (stream: Stream, body: string, options: PublishOptions) => unknown, what: 'messages' | 'states'): void {
  const body = JSON.stringify({ ballast: 'x'.repeat(2_000) })
  for (let n = 0; n < PRESSED_BYTES / 3_500; n++) publish(nextStream(), body, what === 'messages' ? durable : report('complete'))
  const busy = Array.from({ length: 50 }, nextStream)
  for (const stream of busy) publish(stream, JSON.stringify({ ballast: 'x'.repeat(5_000) }), report('progress'))
  for (const stream of busy) publish(stream, '{}', report('complete'))
}
