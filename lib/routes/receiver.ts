import type { WebSocket } from 'ws'

type Callback = (error?: Error | null) => void

/** What is used of the `Receiver` of ws: a writable stream that parses frames. */
interface Receiver {
  /** Set by the first invalid frame. */
  readonly _errored?: boolean
  _write (chunk: Buffer, encoding: BufferEncoding, callback: Callback): void
}

/**
 * Stops ws from parsing what follows an invalid frame. Node.js writes the chunks that were buffered behind the frame, while a
 * message before it was inflated, in spite of the error. ws 8.23 forgets the mask of a frame that it has read, and throws a
 * TypeError for such a chunk, which nobody can catch: any client could end the process.
 */
export function stopAfterInvalidFrame (ws: WebSocket): void {
  const receiver = (ws as WebSocket & { readonly _receiver?: Receiver })._receiver
  // One function for all: a closure for each would be memory for each.
  if (receiver !== undefined) receiver._write = writeWhileValid
}

function writeWhileValid (this: Receiver, chunk: Buffer, encoding: BufferEncoding, callback: Callback): void {
  if (this._errored === true) callback()
  else (Object.getPrototypeOf(this) as Receiver)._write.call(this, chunk, encoding, callback)
}
