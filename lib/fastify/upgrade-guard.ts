import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../util/clock.js'

interface Watched {
  timer: Timer
  readonly isTaken: () => boolean
  readonly forget: () => void
}

export interface UpgradeGuardOptions {
  readonly clock: Clock
  /** How long a peer has to close after it was answered with a plain response, in milliseconds. */
  readonly lingerMs: number
}

/**
 * Owns every upgraded socket until a handler takes it over. Node detaches a socket from the HTTP server before it emits
 * `upgrade`: from then on nobody reads the socket, handles its errors, applies a timeout or notices that the peer has left.
 * The guard does, independent of Fastify's hooks and scopes: a socket that nobody takes over in time is destroyed.
 */
export class UpgradeGuard {
  readonly #options: UpgradeGuardOptions
  readonly #watched = new Map<Duplex, Watched>()
  #onceEmpty: (() => void) | undefined

  constructor (options: UpgradeGuardOptions) {
    this.#options = options
  }

  /** Sockets that nobody has taken over yet. */
  get size (): number {
    return this.#watched.size
  }

  /**
   * Starts to own a socket. After `ms` it is destroyed, unless it was released before or `isTaken` returns true then. Watching
   * a socket again replaces the deadline and the test.
   */
  watch (socket: Duplex, ms: number, isTaken: () => boolean = () => false): void {
    this.release(socket)
    if (socket.destroyed) return
    const forget = (): void => { this.release(socket) }
    socket.on('error', ignore)
    socket.once('close', forget)
    this.#watched.set(socket, { timer: this.#deadline(socket, ms), isTaken, forget })
  }

  /** A handler has taken the socket over, or it has closed. */
  release (socket: Duplex): void {
    const watched = this.#watched.get(socket)
    if (watched === undefined) return
    watched.timer.cancel()
    socket.off('error', ignore)
    socket.off('close', watched.forget)
    this.#watched.delete(socket)
    if (this.#watched.size === 0) this.#onceEmpty?.()
  }

  /**
   * The upgrade was answered with a plain response. The socket is half-closed and read, so that the peer gets the response
   * and its leaving is noticed. Destroying it at once would reset the connection while the response is on its way.
   */
  answered (socket: Duplex): void {
    const watched = this.#watched.get(socket)
    if (watched === undefined) return
    watched.timer.cancel()
    watched.timer = this.#deadline(socket, this.#options.lingerMs)
    socket.end()
    socket.resume()
  }

  /** Resolves when no socket is left. After `ms` those that nobody has taken over are destroyed. */
  async close (ms: number): Promise<void> {
    for (const [socket, { isTaken }] of this.#watched) if (isTaken()) this.release(socket)
    if (this.#watched.size === 0) return
    const timer = this.#options.clock.after(ms, () => { for (const socket of this.#watched.keys()) this.#expire(socket) })
    await new Promise<void>((resolve) => { this.#onceEmpty = resolve })
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

/** Node destroys a socket after an error; without a listener the error would end the process. */
function ignore (): void { /* `close` subscriptions */ }
