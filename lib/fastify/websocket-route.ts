import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type {} from '@fastify/websocket'
import type { FastifyInstance, FastifyRequest, FastifySchema } from 'fastify'
import type { WebSocket } from 'ws'
import { outsideRequests } from '../util/async-context.js'
import type { Clock } from '../util/clock.js'
import { tryThen } from '../util/maybe-promise.js'
import type { CloseName } from '../protocol/codes.js'
import type { Handshake, Handshakes } from '../connections/handshakes.js'
import type { Connection } from '../connections/connection.js'
import type { ConnectionRegistry } from '../connections/connection-registry.js'
import type { Counters } from '../connections/counters.js'
import type { Heartbeat } from '../connections/heartbeat.js'
import type { Inbound } from '../connections/inbound.js'
import type { Logger } from '../util/logger.js'
import type { Admission } from './admission.js'
import { addressOf, withholdCredentials } from './credentials.js'
import { DisconnectSignal } from './disconnect-signal.js'
import { createIntake, type Intake, type Recipient } from './intake.js'
import { stopAfterInvalidFrame } from './receiver.js'
import { createTransport } from './ws-transport.js'
import type { UpgradeQueue } from './upgrade-queue.js'
import type { WebSockets } from './websocket-server.js'

export interface WebSocketRouteOptions {
  readonly url: string
  readonly admission: Admission
  readonly handshakes: Handshakes
  readonly connections: ConnectionRegistry
  readonly inbound: Inbound
  readonly heartbeat: Heartbeat
  readonly clock: Clock
  /** How long a client has to answer a close frame, in milliseconds. */
  readonly closeTimeoutMs: number
  readonly counters: Counters
  readonly log: Logger
  /** Whether the client of this upgrade request can inflate messages that were compressed for all clients. */
  readonly inflates: (request: IncomingMessage) => boolean
  /** Removes optional parts of an upgrade request that would otherwise make ws refuse it. */
  readonly prepare: (request: IncomingMessage) => void
  /** Limits the upgrades per turn of the event loop. */
  readonly upgradeQueue: UpgradeQueue
  readonly websockets: WebSockets
  readonly logSerializers: Record<'req', (request: FastifyRequest) => unknown>
}

/** Hides the route from OpenAPI documents, which can't describe a WebSocket. The field belongs to @fastify/swagger. */
const HIDDEN = { hide: true } as FastifySchema

/** Registers the WebSocket route, `GET /ws`. Requests without an upgrade get 426. */
export function registerWebSocketRoute (app: FastifyInstance, options: WebSocketRouteOptions): void {
  app.route({
    method: 'GET',
    url: options.url,
    schema: HIDDEN,
    logSerializers: options.logSerializers,
    // Fastify creates a request's logger right after routing, before it creates the request object. So no hook of the app or of
    // a plugin, such as one that reads a session from a cookie, has seen the request yet.
    childLoggerFactory (logger, bindings, loggerOptions, raw) {
      if (options.admission.isForeign(addressOf(this, raw))) withholdCredentials(raw)
      return this.childLoggerFactory(logger, bindings, loggerOptions, raw)
    },
    onRequest: (request, _reply, done) => {
      options.upgradeQueue.pass(() => {
        options.prepare(request.raw)
        options.websockets.claim(request.raw)
        done()
      })
    },
    handler: (request, reply) => {
      const isHttp2 = request.raw.httpVersionMajor === 2
      // HTTP/2 has no connection-specific header fields (RFC 9113, section 8.2.2): Node throws for them.
      if (!isHttp2) reply.header('upgrade', 'websocket')
      return reply.code(426).send({
        statusCode: 426,
        error: 'Upgrade Required',
        message: `this is a WebSocket endpoint: connect with a WebSocket client${isHttp2 ? ', over HTTP/1.1' : ''}`
      })
    },
    wsHandler: (ws, request) => { receive(ws, request, options) }
  })
}

/** State of a socket before its admission. */
interface PendingAdmission {
  readonly handshake: Handshake
  readonly disconnect: DisconnectSignal
}

/**
 * Property that holds a WebSocket's `ClientSocket`. It lets all WebSockets share their listeners, which saves memory per
 * connection (benchmark row `listeners`).
 */
const CLIENT_SOCKET = Symbol('clientSocket')

function clientSocketOf (ws: WebSocket): ClientSocket {
  return (ws as WebSocket & { [CLIENT_SOCKET]: ClientSocket })[CLIENT_SOCKET]
}

/**
 * Links a ws socket with its handshake, and after admission with its connection. Lives as long as the socket, so it is kept
 * small.
 */
class ClientSocket implements Recipient {
  readonly ws: WebSocket
  readonly options: WebSocketRouteOptions
  readonly intake: Intake
  pending: PendingAdmission | undefined
  connection: Connection | undefined

  constructor (ws: WebSocket, socket: Duplex | undefined, pending: PendingAdmission, options: WebSocketRouteOptions) {
    this.ws = ws
    this.options = options
    this.pending = pending
    this.intake = createIntake(socket, this, options)
    Object.assign(ws, { [CLIENT_SOCKET]: this })
    stopAfterInvalidFrame(ws)
    // The listener of @fastify/websocket would terminate the socket before a close frame such as 1009 is sent.
    ws.removeAllListeners('error')
    ws.on('error', onError).on('close', onClose).on('ping', onPing).on('pong', onPong).on('message', onMessage)
  }

  get isClosing (): boolean {
    const { ws, pending, connection } = this
    return ws.readyState !== ws.OPEN || pending?.handshake.refusal !== undefined || connection?.subscriber.outbox.closed === true
  }

  take (data: Buffer, isBinary: boolean): void {
    if (this.connection !== undefined) this.options.inbound.receive(this.connection, data, isBinary)
  }

  fragmented (): void {
    outsideRequests(() => { this.unsolicited() })
  }

  /** Called for an unsolicited control frame or a small fragment, which count as messages. */
  unsolicited (): void {
    if (this.connection !== undefined) this.options.inbound.unsolicited(this.connection)
  }
}

/**
 * Returns a listener that all WebSockets share. It runs outside of every request's async context: ws inflates messages through
 * a queue that all sockets share, so that a message could otherwise be handled in another client's context.
 */
function listener<A extends unknown[]> (act: (clientSocket: ClientSocket, ...args: A) => void): (this: WebSocket, ...args: A) => void {
  return function (...args) { outsideRequests(act, clientSocketOf(this), ...args) }
}

const onError = listener(({ options, connection, intake }, { code }: Error & { code?: string }) => {
  options.log.debug({ clientId: connection?.id, code }, 'a socket failed')
  intake.failed()
})

const onClose = listener(({ options, pending, connection }, code: number) => {
  pending?.disconnect.trigger()
  if (pending !== undefined) options.handshakes.end(pending.handshake)
  if (connection !== undefined) options.connections.remove(connection, code)
})

const onPing = listener((clientSocket) => { clientSocket.unsolicited() })

const onPong = listener((clientSocket, payload: Buffer) => {
  const { connection, options } = clientSocket
  const isAsked = connection !== undefined && options.heartbeat.pong(connection, payload)
  if (!isAsked) clientSocket.unsolicited()
})

const onMessage = listener(({ intake }, data: Buffer, isBinary: boolean) => { intake.message(data, isBinary) })

/** Takes over an upgraded socket, with its events. */
function receive (ws: WebSocket, request: FastifyRequest, options: WebSocketRouteOptions): void {
  // Requests of injectWS have no network socket, despite the type.
  const socket = request.raw.socket as Duplex | undefined
  const handshake = options.handshakes.begin(createTransport(ws, socket, options.inflates(request.raw)))
  const pending = { handshake, disconnect: new DisconnectSignal() }
  const clientSocket = new ClientSocket(ws, socket, pending, options)
  if (handshake.refusal === undefined) admit(clientSocket, pending, request, options)
}

function admit (clientSocket: ClientSocket, pending: PendingAdmission, request: FastifyRequest, options: WebSocketRouteOptions): void {
  const { admission, handshakes, counters, log } = options
  const { handshake, disconnect } = pending
  const refuse = (name: CloseName, detail?: string, fields?: object): void => { handshakes.refuse(handshake, name, detail, fields) }
  void tryThen(() => admission.admit(request, disconnect), (verdict) => {
    if ('refused' in verdict) {
      refuse(verdict.refused, verdict.detail, verdict.fields)
      return
    }
    if (verdict.isReconnect) counters.reconnects++
    return tryThen(() => handshakes.accept(handshake, verdict), (accepted) => {
      if (typeof accepted === 'string') {
        refuse(accepted)
        return
      }
      clientSocket.connection = accepted
      clientSocket.pending = undefined
      clientSocket.intake.open()
    }, (err) => {
      log.error({ err }, 'the broker failed to join a new connection: client refused')
      refuse('overCapacity')
    })
  }, (err) => {
    log.error({ err }, 'the admission of a client failed: client refused')
    refuse('serverError')
  })
}
