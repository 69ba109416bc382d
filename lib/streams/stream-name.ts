import type { Stream } from './broker.js'

const SESSION = 'session:'

/** Returns whether a stream is a session's. Only these have jobs. */
export function isSession (stream: Stream): stream is `session:${string}` {
  return stream.startsWith(SESSION)
}

/** Returns the session that a stream belongs to. */
export function sessionOf (stream: Stream): string {
  return stream.slice(SESSION.length)
}
