import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../util/clock.js'

interface Watched {
  timer: Timer
  readonly isTaken: () => boolean
  readonly forget: () => void
}

export interface UpgradeGuardOptions {
  readonly clock: Clock
  /** How long a client has to close its socket after a plain response, in milliseconds. */
  readonly lingerMs: number
}

/**
 * Owns every upgraded socket until a handler takes it over. Node detaches a socket from the HTTP server before it emits
 * `upgrade`. From then on, Node does not read the socket, handle its errors, apply a timeout or notice a disconnect. The guard
 * does, independent of Fastify's hooks and scopes. It destroys a socket that no handler takes over in time.
 */
export class UpgradeGuard {
  readonly #options: UpgradeGuardOptions
  readonly #watched = new Map<Duplex, Watched>()
  #onEmpty: (() => void) | undefined

  constructor (options: UpgradeGuardOptions) {
    this.#options = options
  }

  /** Number of sockets that no handler has taken over yet. */
  get size (): number {
    return this.#watched.size
  }

  /**
   * Starts to own a socket. Destroys it after `ms`, unless it was released before or `isTaken` then returns true. A second call
   * for the same socket replaces the timeout and the test.
   */
  watch (socket: Duplex, ms: number, isTaken: () => boolean = () => false): void {
    this.release(socket)
    if (socket.destroyed) return
    const forget = (): void => { this.release(socket) }
    socket.on('error', ignore)
    socket.once('close', forget)
    this.#watched.set(socket, { timer: this.#deadline(socket, ms), isTaken, forget })
  }

  /** Stops owning a socket, because a handler has taken it over or it has closed. */
  release (socket: Duplex): void {
    const watched = this.#watched.get(socket)
    if (watched === undefined) return
    watched.timer.cancel()
    socket.off('error', ignore)
    socket.off('close', watched.forget)
    this.#watched.delete(socket)
    if (this.#watched.size === 0) this.#onEmpty?.()
  }

  /**
   * Ends a socket whose upgrade was answered with a plain response. The socket is half-closed and read, so that the client gets
   * the response and its disconnect is noticed. Destroying it at once would reset the connection before the response arrives.
   */
  answered (socket: Duplex): void {
    const watched = this.#watched.get(socket)
    if (watched === undefined) return
    watched.timer.cancel()
    watched.timer = this.#deadline(socket, this.#options.lingerMs)
    socket.end()
    socket.resume()
  }

  /** Resolves when no socket is left. Destroys the remaining ones after `ms`. */
  async close (ms: number): Promise<void> {
    for (const [socket, { isTaken }] of this.#watched) if (isTaken()) this.release(socket)
    if (this.#watched.size === 0) return
    const timer = this.#options.clock.after(ms, () => { for (const socket of this.#watched.keys()) this.#expire(socket) })
    await new Promise<void>((resolve) => { this.#onEmpty = resolve })
    timer.cancel()
  }

  #deadline (socket: Duplex, ms: number): Timer {
    return this.#options.clock.after(ms, () => { this.#expire(socket) })
  }

  #expire (socket: Duplex): void {
    const isTaken = this.#watched.get(socket)?.isTaken() === true
    if (!isTaken) socket.destroy()
    this.release(socket)
  }
}

/** Listener of `error`. Node destroys the socket after an error. Without a listener, the error would end the process. */
function ignore (): void { /* The `close` event releases the socket. */ }
