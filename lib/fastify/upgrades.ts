import { AsyncResource } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import { ServerResponse, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { handBack } from './plain-request.js'
import type { RoutePaths } from './route-paths.js'
import type { UpgradeGuard } from './upgrade-guard.js'

export interface UpgradesOptions {
  readonly server: Server
  readonly guard: UpgradeGuard
  /** Paths of the WebSocket routes of the app and of the plugin. */
  readonly paths: RoutePaths
  /**
   * Where @fastify/websocket listens for `upgrade`, if it is not the server itself. Undefined when the app registered
   * @fastify/websocket: then that takes every upgrade of the server.
   */
  readonly websockets: EventEmitter | undefined
  /** How long hooks may take before an upgrade, in milliseconds. */
  readonly hooksTimeoutMs: number
}

/** How long another listener of `upgrade` has until it must have begun to use a socket, in milliseconds. */
const UNCLAIMED_MS = 60_000

/**
 * Decides who answers each upgrade request of the server.
 *
 * - A WebSocket handshake is passed to @fastify/websocket, unless other parties listen for `upgrade` as well and no WebSocket
 *   route of the app has that path.
 * - Any other upgrade is left to these other parties, such as Socket.IO, Vite or a proxy.
 * - Without such a party, or if none takes it, the HTTP server answers it as a plain request.
 */
export class Upgrades {
  readonly #options: UpgradesOptions
  #closing = false

  constructor (options: UpgradesOptions) {
    this.#options = options
    const { server } = options
    // First, so that the socket has an owner before anybody can fail to answer.
    server.prependListener('upgrade', this.#onUpgrade)
    // Until the server has closed: sockets that are open already may ask for an upgrade at any time.
    server.once('close', () => { server.off('upgrade', this.#onUpgrade) })
  }

  get server (): Server {
    return this.#options.server
  }

  /** Whether @fastify/websocket takes every upgrade of the server, because the app registered it. */
  get takesAll (): boolean {
    return this.#options.websockets === undefined
  }

  /** Listeners of `upgrade` that are neither ours nor @fastify/websocket's. */
  get neighbours (): number {
    return this.#others - (this.takesAll ? 1 : 0)
  }

  /** From now on no WebSocket handshake is accepted. Fastify answers it with 503 while the app closes. */
  close (): void {
    this.#closing = true
  }

  get #others (): number {
    return this.#options.server.listenerCount('upgrade') - 1
  }

  readonly #onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const { server, guard, paths, websockets, hooksTimeoutMs } = this.#options
    if (websockets !== undefined && !this.#closing && isWebSocketHandshake(request) && (this.#others === 0 || paths.mayMatch(String(request.url)))) {
      this.#onceResponded(socket, () => {
        guard.watch(socket, hooksTimeoutMs, () => isRead(socket))
        websockets.emit('upgrade', request, socket, head)
        this.#followResponse(socket)
      })
    } else if (this.#others === 0) {
      this.#onceResponded(socket, () => { handBack(server, request, socket, head) })
    } else if (websockets === undefined) {
      guard.watch(socket, hooksTimeoutMs, () => isRead(socket))
      process.nextTick(() => { this.#followResponse(socket) })
    } else {
      this.#onceResponded(socket, () => { this.#leave(request, socket, head) })
    }
  }

  /** Leaves the socket to other parties that listen for `upgrade`. */
  #leave (request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { server, guard } = this.#options
    const isTaken = usageOf(socket)
    guard.watch(socket, UNCLAIMED_MS, isTaken)
    if (isWebSocketHandshake(request)) return
    // They expect WebSockets. A client that merely offers another protocol, such as h2c, must get its response.
    setImmediate(() => {
      if (isTaken() || socket.destroyed) return
      guard.release(socket)
      handBack(server, request, socket, head)
    })
  }

  /**
   * Waits for responses to earlier requests of the connection (pipelining): a socket has one response at a time. Node calls
   * back in the async context of that response, so the work is bound to its own.
   */
  #onceResponded (socket: Duplex, work: () => void): void {
    const response = responseOn(socket)
    if (response === undefined) {
      work()
      return
    }
    const { guard } = this.#options
    // Nobody reads it meanwhile, so that its peer's leaving goes unnoticed.
    guard.watch(socket, UNCLAIMED_MS)
    response.once('close', AsyncResource.bind(() => {
      guard.release(socket)
      if (!socket.destroyed) this.#onceResponded(socket, work)
    }))
  }

  /**
   * A socket has become a WebSocket: its handshake's request and response are over. Node would keep both as long as the
   * socket, some kilobytes for each connection.
   */
  accepted (socket: Duplex): void {
    this.#options.guard.release(socket)
    const response = responseOn(socket)
    if (response === undefined) return
    response.detachSocket(socket as Socket)
    // As Node does for any response that has ended: hooks of the app may wait for it.
    process.nextTick(() => { response.emit('close') })
  }

  /** A handshake that was answered with a plain response, such as 401 or 404, is over. */
  #followResponse (socket: Duplex): void {
    responseOn(socket)?.once('finish', () => { this.#options.guard.answered(socket) })
  }
}

function isWebSocketHandshake ({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket'
}

/** The response that is being written to a socket. Node keeps it there, although its types don't know. */
function responseOn (socket: Duplex): ServerResponse | undefined {
  const { _httpMessage: response } = socket as Duplex & { _httpMessage?: unknown }
  return response instanceof ServerResponse ? response : undefined
}

/** Whoever speaks another protocol on a socket reads it. */
function isRead (socket: Duplex): boolean {
  return socket.listenerCount('data') > 0 || socket.listenerCount('readable') > 0
}

/** Returns a function that tells whether anybody has begun to use the socket since now. */
function usageOf (socket: Duplex): () => boolean {
  const { bytesWritten: before } = socket as Duplex & { bytesWritten?: number }
  return () => isRead(socket) || responseOn(socket) !== undefined || (socket as { bytesWritten?: number }).bytesWritten !== before
}
