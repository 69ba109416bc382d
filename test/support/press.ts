import type { PublishOptions, Stream } from '../../lib/streams/broker.js'
import { durable, report } from '../../lib/testing/reports.js'

/** The ceiling over all streams with which `press` works: a stream of some KiB is not a large one. */
export const PRESSED_BYTES = 16 * 1024 * 1024

/**
 * Lives are counted for groups of streams, so when a stream is forgotten, the next epoch of others changes too. Tests that
 * compare epochs need names that share no group with theirs.
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
 * Publishes so much to sessions of others that all streams there were lose their messages, or what their jobs left too.
 * Then leaves some room, so that the next publishes push out nothing.
 */
export function press (publish: (stream: Stream, body: string, options: PublishOptions) => unknown, what: 'messages' | 'states'): void {
  const body = JSON.stringify({ ballast: 'x'.repeat(2_000) })
  for (let n = 0; n < PRESSED_BYTES / 3_500; n++) publish(nextStream(), body, what === 'messages' ? durable : report('complete'))
  const busy = Array.from({ length: 50 }, nextStream)
  for (const stream of busy) publish(stream, JSON.stringify({ ballast: 'x'.repeat(5_000) }), report('progress'))
  for (const stream of busy) publish(stream, '{}', report('complete'))
}
