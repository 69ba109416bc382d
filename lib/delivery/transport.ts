import type { Frame } from './frame.js'

/** The values of `WebSocket.readyState`: connecting, open, closing, closed. */
export type TransportState = 0 | 1 | 2 | 3

/** The outgoing side of a connection, as delivery needs it. `fastify/ws-transport.ts` implements it for ws sockets. */
export interface Transport {
  readonly state: TransportState
  /** Whether the peer accepts compressed messages. Passed to `Frame.bytes`. */
  readonly inflates: boolean
  /** Whether a `large_message` announces each message of more than 64 KiB. Only for clients that offered the subprotocol. */
  readonly announcesLargeMessages: boolean
  /** Bytes that were written and that the operating system has not taken yet. */
  readonly bufferedBytes: number
  /** Whether nothing more should be written until the socket has drained. */
  readonly full: boolean
  /**
   * Writes encoded frames. `bytes` holds whole WebSocket frames, but possibly only some fragments of a long message. `frames`
   * are the messages that end in `bytes`; a transport that encodes frames itself sends their payloads instead. Both are shared
   * with other connections and must not be changed. Does nothing unless open. Never throws.
   */
  write (bytes: Buffer, frames: readonly Frame[]): void
  /** Calls back once, when the operating system has taken what was written. Never calls back after a close. */
  onceDrained (callback: () => void): void
  /** Sends a ping. Absent if the peer answers no pings, as the in-memory peer of `app.injectWS` does. */
  ping?: (payload: Buffer) => void
  /** Starts the closing handshake. */
  close (code: number, reason: string): void
  /** Terminates the connection at once. Queued data is lost. */
  terminate (): void
}
