import type { WebSocket } from 'ws'

type Callback = (error?: Error | null) => void

/** The parts of the ws `Receiver` that are used here. It is a writable stream that parses frames. */
interface Receiver {
  /** Set by the first invalid frame. */
  readonly _errored?: boolean
  _write (chunk: Buffer, encoding: BufferEncoding, callback: Callback): void
}

/**
 * Stops ws from parsing the bytes that follow an invalid frame. While ws inflates a message, Node.js buffers the chunks that
 * arrive behind it, and then writes all of them, even after one of them failed. After an invalid close frame ws 8.23 has no
 * mask left and throws a TypeError. No listener can catch it, so any client could crash the process.
 */
export function stopAfterInvalidFrame (ws: WebSocket): void {
  const receiver = (ws as WebSocket & { readonly _receiver?: Receiver })._receiver
  // One shared function, because a closure per connection would cost memory.
  if (receiver !== undefined) receiver._write = writeWhileValid
}

function writeWhileValid (this: Receiver, chunk: Buffer, encoding: BufferEncoding, callback: Callback): void {
  if (this._errored === true) callback()
  else (Object.getPrototypeOf(this) as Receiver)._write.call(this, chunk, encoding, callback)
}
