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
interface Waiting {
  readonly handshake: Handshake
  readonly departure: DisconnectSignal
}

/**
 * Property that holds a WebSocket's reception. It lets all WebSockets share their listeners, which saves memory per connection.
 */
const RECEPTION = Symbol('reception')

function receptionOf (ws: WebSocket): Reception {
  return (ws as WebSocket & { [RECEPTION]: Reception })[RECEPTION]
}

/**
 * Links a ws socket with its handshake, and after admission with its connection. Lives as long as the socket, so it is kept
 * small.
 */
class Reception implements Recipient {
  readonly ws: WebSocket
  readonly options: WebSocketRouteOptions
  readonly intake: Intake
  waiting: Waiting | undefined
  connection: Connection | undefined

  constructor (ws: WebSocket, socket: Duplex | undefined, waiting: Waiting, options: WebSocketRouteOptions) {
    this.ws = ws
    this.options = options
    this.waiting = waiting
    this.intake = createIntake(socket, this, options)
    Object.assign(ws, { [RECEPTION]: this })
    stopAfterInvalidFrame(ws)
    // The listener of @fastify/websocket would terminate the socket before a close frame such as 1009 is sent.
    ws.removeAllListeners('error')
    ws.on('error', onError).on('close', onClose).on('ping', onPing).on('pong', onPong).on('message', onMessage)
  }

  get isClosing (): boolean {
    const { ws, waiting, connection } = this
    return ws.readyState !== ws.OPEN || waiting?.handshake.refusal !== undefined || connection?.subscriber.outbox.closed === true
  }

  take (data: Buffer, isBinary: boolean): void {
    if (this.connection !== undefined) this.options.inbound.receive(this.connection, data, isBinary)
  }

  fragmented (): void {
    outsideRequests(() => { this.unasked() })
  }

  /** Called for an unsolicited control frame or a small fragment, which count as messages. */
  unasked (): void {
    if (this.connection !== undefined) this.options.inbound.unasked(this.connection)
  }
}

/**
 * Returns a listener that all WebSockets share. It runs outside of every request's async context: ws inflates messages through
 * a queue that all sockets share, so that a message could otherwise be handled in another client's context.
 */
function listener<A extends unknown[]> (act: (reception: Reception, ...args: A) => void): (this: WebSocket, ...args: A) => void {
  return function (...args) { outsideRequests(act, receptionOf(this), ...args) }
}

const onError = listener(({ options, connection, intake }, { code }: Error & { code?: string }) => {
  options.log.debug({ clientId: connection?.id, code }, 'a socket failed')
  intake.failed()
})

const onClose = listener(({ options, waiting, connection }, code: number) => {
  waiting?.departure.note()
  if (waiting !== undefined) options.handshakes.end(waiting.handshake)
  if (connection !== undefined) options.connections.remove(connection, code)
})

const onPing = listener((reception) => { reception.unasked() })

const onPong = listener((reception, payload: Buffer) => {
  const { connection, options } = reception
  const isAsked = connection !== undefined && options.heartbeat.pong(connection, payload)
  if (!isAsked) reception.unasked()
})

const onMessage = listener(({ intake }, data: Buffer, isBinary: boolean) => { intake.message(data, isBinary) })

/** Takes over an upgraded socket, with its events. */
function receive (ws: WebSocket, request: FastifyRequest, options: WebSocketRouteOptions): void {
  // Requests of injectWS have no network socket, despite the type.
  const socket = request.raw.socket as Duplex | undefined
  const handshake = options.handshakes.begin(createTransport(ws, socket, options.inflates(request.raw)))
  const waiting = { handshake, departure: new DisconnectSignal() }
  const reception = new Reception(ws, socket, waiting, options)
  if (handshake.refusal === undefined) admit(reception, waiting, request, options)
}

function admit (reception: Reception, waiting: Waiting, request: FastifyRequest, options: WebSocketRouteOptions): void {
  const { admission, handshakes, counters, log } = options
  const { handshake, departure } = waiting
  const refuse = (name: CloseName, detail?: string, fields?: object): void => { handshakes.refuse(handshake, name, detail, fields) }
  void tryThen(() => admission.admit(request, departure), (verdict) => {
    if ('refused' in verdict) {
      refuse(verdict.refused, verdict.detail, verdict.fields)
      return
    }
    if (verdict.returns) counters.returned++
    return tryThen(() => handshakes.accept(handshake, verdict), (accepted) => {
      if (typeof accepted === 'string') {
        refuse(accepted)
        return
      }
      reception.connection = accepted
      reception.waiting = undefined
      reception.intake.open()
    }, (err) => {
      log.error({ err }, 'the broker failed to join a new connection: client refused')
      refuse('serverError')
    })
  }, (err) => {
    log.error({ err }, 'the admission of a client failed: client refused')
    refuse('serverError')
  })
}
