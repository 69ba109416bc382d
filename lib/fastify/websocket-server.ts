import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import fastifyWebsocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws'
import type { Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import { errors } from '../util/errors.js'
import { RoutePaths } from './route-paths.js'
import { chooseSubprotocol } from './token.js'
import { UpgradeGuard } from './upgrade-guard.js'
import { Upgrades } from './upgrades.js'

export interface WebSocketsOptions {
  /** Options of ws for the plugin's own route. */
  readonly websocket: Omit<ServerOptions, 'path' | 'WebSocket'> & { readonly maxPayload: number }
  /** Whether the app passed its own ws options. */
  readonly hasOwnWebSocket: boolean
  readonly clock: Clock
  readonly hooksTimeoutMs: number
  readonly closeTimeoutMs: number
}

/**
 * The app's WebSocket servers, based on @fastify/websocket. If the plugin registers @fastify/websocket, it adds a second ws
 * server for its own route, so that the plugin's options, such as `maxPayload`, apply only there. If the app has registered it,
 * the app's options apply to every route.
 */
export class WebSockets {
  /** The ws server of the plugin's own route. */
  readonly server: WebSocketServer
  readonly upgrades: Upgrades
  readonly #app: FastifyInstance
  readonly #clock: Clock
  readonly #guard: UpgradeGuard
  readonly #isOurs: boolean
  /** Requests for the plugin's own route. */
  readonly #own = new WeakSet<IncomingMessage>()
  /** Open sockets of the app's other routes. */
  readonly #others = new Set<WebSocket>()

  /** Registers @fastify/websocket, unless the app has done so. */
  static async provide (app: FastifyInstance, options: WebSocketsOptions): Promise<WebSockets> {
    const paths = new RoutePaths()
    app.addHook('onRoute', ({ url, websocket, wsHandler }) => {
      if (websocket === true || wsHandler !== undefined) paths.add(url)
    })
    if (app.hasDecorator('websocketServer')) {
      checkExisting(app, options)
      return new WebSockets(app, options, paths, undefined)
    }
    const websockets = new EventEmitter()
    await app.register(fastifyWebsocket, {
      // Makes it listen on this emitter instead of the HTTP server, so that it gets only the upgrades meant for it.
      options: { server: websockets as Server },
      // `close` below closes the sockets, within the timeout of the shutdown.
      preClose: (done) => { done() }
    })
    return new WebSockets(app, options, paths, websockets)
  }

  private constructor (app: FastifyInstance, options: WebSocketsOptions, paths: RoutePaths, websockets: EventEmitter | undefined) {
    const { websocket, clock, hooksTimeoutMs, closeTimeoutMs: lingerMs } = options
    this.#app = app
    this.#clock = clock
    this.#isOurs = websockets !== undefined
    this.#guard = new UpgradeGuard({ clock, lingerMs })
    this.server = this.#isOurs ? new WebSocketServer({ ...websocket, noServer: true }) : app.websocketServer
    // By default, ws selects the first offered subprotocol, which may carry the token.
    this.server.options.handleProtocols ??= chooseSubprotocol
    this.upgrades = new Upgrades({ server: app.server, guard: this.#guard, paths, websockets, hooksTimeoutMs })
    this.#share(app.websocketServer)
  }

  /** Marks a request for the plugin's own route, so that it is upgraded with the plugin's options. */
  claim (request: IncomingMessage): void {
    this.#own.add(request)
  }

  /**
   * Closes the WebSockets of the app's other routes, for which @fastify/websocket would wait 30 seconds, and sockets that no
   * handler has taken over. Terminates those that are still open after `ms`.
   */
  async close (ms: number): Promise<void> {
    if (this.#isOurs) {
      for (const ws of this.#others) ws.close()
      this.#app.websocketServer.close()
    }
    // If the app registered @fastify/websocket, it may keep sockets open on purpose.
    const closing = [...this.#others].filter((ws) => ws.readyState === ws.CLOSING)
    const gone = Promise.all(closing.map((ws) => new Promise((resolve) => { ws.once('close', resolve) })))
    await Promise.all([
      this.#guard.close(ms),
      withDeadline(this.#clock, ms, gone).then((outcome) => {
        if (outcome === TIMED_OUT) for (const ws of closing) ws.terminate()
      })
    ])
  }

  /** Makes @fastify/websocket upgrade the requests of the plugin's route with the plugin's own server. */
  #share (websocketServer: WebSocketServer): void {
    const handleUpgrade = websocketServer.handleUpgrade.bind(websocketServer)
    websocketServer.handleUpgrade = (request, socket, head, done) => {
      const isOwn = this.#own.has(request)
      const upgrade: typeof handleUpgrade = isOwn && this.#isOurs ? this.server.handleUpgrade.bind(this.server) : handleUpgrade
      upgrade(request, socket, head, (ws, request) => {
        if (isOwn) {
          this.upgrades.accepted(socket)
          // The app's @fastify/websocket closes its clients without a code. The plugin closes its own clients with one.
          const { clients } = this.server as { clients?: Set<WebSocket> }
          clients?.delete(ws)
        } else {
          this.#guard.release(socket)
          this.#others.add(ws)
          ws.once('close', () => { this.#others.delete(ws) })
        }
        done(ws, request)
      })
    }
  }
}

function checkExisting (app: FastifyInstance, { hasOwnWebSocket, websocket: { maxPayload } }: WebSocketsOptions): void {
  if (hasOwnWebSocket) {
    throw new errors.InvalidOption('websocket',
      'can\'t be used because the app has registered @fastify/websocket itself: pass it there as { options }, or remove that registration, since ai-canvas-ws registers @fastify/websocket')
  }
  // The default of ws is 100 MiB. 0 means no limit.
  const theirs = app.websocketServer.options.maxPayload
  if (!theirs || theirs > maxPayload) {
    app.log.warn({ maxPayload: theirs, recommended: maxPayload },
      'the app\'s @fastify/websocket accepts larger messages than ai-canvas-ws needs, even from unauthenticated clients: register it with options: { maxPayload }')
  }
}
