import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Frame } from '../delivery/frame.js'
import { detached } from '../util/async-context.js'
import { WRITE_AHEAD_BYTES } from '../delivery/outbox.js'
import type { Transport, TransportState } from '../delivery/transport.js'
import { SUBPROTOCOL } from './token.js'

const OPEN = 1

/**
 * Transport over a ws socket and its network socket. It writes complete frames directly to the network socket, between the
 * frames that ws writes itself (ping, pong, close). Both write only whole frames, and ws never has a partially written one,
 * because nothing uses its `send` on this connection.
 */
class SocketTransport implements Transport {
  readonly #ws: WebSocket
  readonly #socket: Duplex
  readonly inflates: boolean
  readonly announcesLargeMessages: boolean
  /** Whether the last write returned false. Checked first, because it rarely does. */
  #mayBeFull = false

  constructor (ws: WebSocket, socket: Duplex, inflates: boolean) {
    this.#ws = ws
    this.#socket = socket
    this.inflates = inflates
    this.announcesLargeMessages = ws.protocol === SUBPROTOCOL
  }

  get state (): TransportState {
    return this.#ws.readyState
  }

  get bufferedBytes (): number {
    return this.#socket.writableLength
  }

  /**
   * Also checks `writableNeedDrain`: `drain` follows only above the stream's own high-water mark, which an app may have raised.
   */
  get full (): boolean {
    return this.#mayBeFull && this.#socket.writableLength >= WRITE_AHEAD_BYTES && this.#socket.writableNeedDrain
  }

  write (bytes: Buffer): void {
    if (this.#ws.readyState === OPEN) this.#mayBeFull = !this.#socket.write(bytes)
  }

  onceDrained (callback: () => void): void {
    this.#socket.once('drain', detached(callback))
  }

  ping (payload: Buffer): void {
    if (this.#ws.readyState === OPEN) this.#ws.ping(payload)
  }

  /** Starts the closing handshake. Resumes a paused socket, because the client's close frame could not be read otherwise. */
  close (code: number, reason: string): void {
    this.#ws.close(code, reason)
    this.#ws.resume()
  }

  terminate (): void {
    this.#ws.terminate()
  }
}

/**
 * Transport over a ws socket of `injectWS`, which has no network socket. ws frames the messages itself. Pings are never
 * answered.
 */
class InjectedTransport implements Transport {
  readonly #ws: WebSocket
  readonly inflates = false
  readonly announcesLargeMessages = false
  #unsent = 0
  #onceDrained: Array<() => void> = []

  constructor (ws: WebSocket) {
    this.#ws = ws
  }

  get state (): TransportState {
    return this.#ws.readyState
  }

  get bufferedBytes (): number {
    return this.#unsent
  }

  get full (): boolean {
    return this.#unsent >= WRITE_AHEAD_BYTES
  }

  write (_bytes: Buffer, frames: readonly Frame[]): void {
    // While closing, ws sends nothing but still calls back.
    for (const { payload } of frames) {
      this.#unsent += payload.length
      this.#ws.send(payload, { binary: false }, () => { this.#sent(payload.length) })
    }
  }

  onceDrained (callback: () => void): void {
    this.#onceDrained.push(detached(callback))
  }

  close (code: number, reason: string): void {
    this.#ws.close(code, reason)
  }

  terminate (): void {
    this.#ws.terminate()
  }

  #sent (bytes: number): void {
    this.#unsent -= bytes
    if (this.#unsent > 0) return
    for (const callback of this.#onceDrained.splice(0)) callback()
  }
}

/** Creates the transport of a WebSocket. `socket` is undefined for `injectWS`. */
export function createTransport (ws: WebSocket, socket: Duplex | undefined, inflates: boolean): Transport {
  return socket === undefined ? new InjectedTransport(ws) : new SocketTransport(ws, socket, inflates)
}
