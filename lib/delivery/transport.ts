import type { Frame } from './frame.js'

/** As `WebSocket.readyState`: connecting, open, closing, closed. */
export type TransportState = 0 | 1 | 2 | 3

/** A connection's way out, as delivery needs it: bytes, pings, an end. `routes/transport.ts` makes one of a ws socket. */
export interface Transport {
  readonly state: TransportState
  /** Whether the peer inflates: `Frame.bytes` is asked for that kind. */
  readonly inflates: boolean
  /** Whether the peer is told how long a message is before one of more than 64 KiB: clients that know of it go by it. */
  readonly isAnnounced: boolean
  /** Bytes that were handed over and that the operating system has not taken yet. */
  readonly bufferedBytes: number
  /** Whether nothing more should be handed over until it has drained. */
  readonly full: boolean
  /**
   * Writes bytes of messages, in order: whole frames, but of a long message perhaps not all. `frames` are the messages that
   * end in them; a transport that makes its own frames sends their payloads instead. Neither may be changed afterwards, by
   * either side: others are given the same ones. Does nothing unless open, and never throws.
   */
  write (bytes: Buffer, frames: readonly Frame[]): void
  /** Calls back once, when what was handed over has been taken. Not called any more once closed. */
  onceDrained (callback: () => void): void
  /** Absent where nobody would answer, as every real peer must. */
  ping?: (payload: Buffer) => void
  /** Begins the closing handshake. */
  close (code: number, reason: string): void
  /** Ends the connection at once, whatever still waits. */
  terminate (): void
}
