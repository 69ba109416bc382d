import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Frame } from '../delivery/frame.js'
import { detached } from '../util/async-context.js'
import { WRITE_AHEAD_BYTES } from '../delivery/outbox.js'
import type { Transport, TransportState } from '../delivery/transport.js'
import { SUBPROTOCOL } from './token.js'

const OPEN = 1

/**
 * A ws socket on a network socket. Frames that are ready are written straight to the network socket, between those that
 * ws writes itself (pings, pongs, closes): both write whole frames, and ws never has one half written, because on this
 * connection nothing goes through its `send`.
 */
class SocketTransport implements Transport {
  readonly #ws: WebSocket
  readonly #socket: Duplex
  readonly inflates: boolean
  readonly announcesLargeMessages: boolean
  /** Whether the last write said to wait. Asked first, since it rarely did. */
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

  /** The stream promises a `drain` only once its own mark was passed, and an app may have set that higher. */
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

  /** Of a socket that was paused nothing would be read, the peer's answer to the close frame neither. */
  close (code: number, reason: string): void {
    this.#ws.close(code, reason)
    this.#ws.resume()
  }

  terminate (): void {
    this.#ws.terminate()
  }
}

/** What `injectWS` makes: a ws socket without a network socket. ws frames the messages itself, and nobody answers a ping. */
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
    // Once it closes, ws sends nothing and calls back all the same.
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

export function createTransport (ws: WebSocket, socket: Duplex | undefined, inflates: boolean): Transport {
  return socket === undefined ? new InjectedTransport(ws) : new SocketTransport(ws, socket, inflates)
}
