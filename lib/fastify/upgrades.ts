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
   * Emitter on which @fastify/websocket listens for `upgrade` instead of the server. Undefined if the app registered
   * @fastify/websocket, which then handles every upgrade of the server.
   */
  readonly websockets: EventEmitter | undefined
  /** Timeout of the hooks that run before an upgrade, in milliseconds. */
  readonly hooksTimeoutMs: number
}

/** How long another listener of `upgrade` has to start using a socket, in milliseconds. */
const UNCLAIMED_MS = 60_000

/**
 * Passes each upgrade request of the server to the party that handles it:
 *
 * - A WebSocket handshake is passed to @fastify/websocket, unless there are other listeners of `upgrade` and no WebSocket route
 *   of the app has that path.
 * - Other upgrades are left to these other listeners, such as Socket.IO, Vite or a proxy.
 * - If there is no other listener, or none uses the socket, the HTTP server handles the upgrade as a plain request.
 */
export class Upgrades {
  readonly #options: UpgradesOptions
  #closing = false

  constructor (options: UpgradesOptions) {
    this.#options = options
    const { server } = options
    // As the first listener, so that the socket has an owner even if all others ignore it.
    server.prependListener('upgrade', this.#onUpgrade)
    // Stays until the server has closed, because open keep-alive connections may request an upgrade at any time.
    server.once('close', () => { server.off('upgrade', this.#onUpgrade) })
  }

  get server (): Server {
    return this.#options.server
  }

  /** Whether @fastify/websocket handles every upgrade of the server, because the app registered it. */
  get handlesAll (): boolean {
    return this.#options.websockets === undefined
  }

  /** Number of `upgrade` listeners other than the plugin's and @fastify/websocket's. */
  get otherListeners (): number {
    return this.#others - (this.handlesAll ? 1 : 0)
  }

  /** Stops accepting WebSocket handshakes. Fastify answers them with 503 while the app closes. */
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
      this.#onceResponded(socket, () => { this.#leaveToOthers(request, socket, head) })
    }
  }

  /** Leaves the socket to the other listeners of `upgrade`. */
  #leaveToOthers (request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { server, guard } = this.#options
    const isTaken = usageOf(socket)
    guard.watch(socket, UNCLAIMED_MS, isTaken)
    if (isWebSocketHandshake(request)) return
    // The other listeners expect WebSockets. A client that merely offers another protocol, such as h2c, must still get a
    // response.
    setImmediate(() => {
      if (isTaken() || socket.destroyed) return
      guard.release(socket)
      handBack(server, request, socket, head)
    })
  }

  /**
   * Calls `work` once earlier requests of the connection are answered (pipelining), because a socket has one response at a
   * time. Node emits `close` in the async context of that response, so `work` is bound to its own context.
   */
  #onceResponded (socket: Duplex, work: () => void): void {
    const response = responseOn(socket)
    if (response === undefined) {
      work()
      return
    }
    const { guard } = this.#options
    // Guarded, because nothing reads the socket meanwhile, so a disconnect would go unnoticed.
    guard.watch(socket, UNCLAIMED_MS)
    response.once('close', AsyncResource.bind(() => {
      guard.release(socket)
      if (!socket.destroyed) this.#onceResponded(socket, work)
    }))
  }

  /**
   * Detaches the response from a socket that has become a WebSocket. Otherwise Node would keep the request and the response as
   * long as the socket, which costs a few kilobytes per connection.
   */
  accepted (socket: Duplex): void {
    this.#options.guard.release(socket)
    const response = responseOn(socket)
    if (response === undefined) return
    response.detachSocket(socket as Socket)
    // Node emits `close` for every ended response, and the app's hooks may wait for it.
    process.nextTick(() => { response.emit('close') })
  }

  /** Ends the socket if the handshake is answered with a plain response, such as 401 or 404. */
  #followResponse (socket: Duplex): void {
    responseOn(socket)?.once('finish', () => { this.#options.guard.answered(socket) })
  }
}

function isWebSocketHandshake ({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket'
}

/** Returns the response that is being written to a socket. Node keeps it in a property that its types omit. */
function responseOn (socket: Duplex): ServerResponse | undefined {
  const { _httpMessage: response } = socket as Duplex & { _httpMessage?: unknown }
  return response instanceof ServerResponse ? response : undefined
}

/** Whether anything reads the socket. A party that has taken it over does. */
function isRead (socket: Duplex): boolean {
  return socket.listenerCount('data') > 0 || socket.listenerCount('readable') > 0
}

/** Returns a function that checks whether the socket has been used since this call. */
function usageOf (socket: Duplex): () => boolean {
  const { bytesWritten: before } = socket as Duplex & { bytesWritten?: number }
  return () => isRead(socket) || responseOn(socket) !== undefined || (socket as { bytesWritten?: number }).bytesWritten !== before
}
