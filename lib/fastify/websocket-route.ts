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
  /** How long a peer has to answer a close frame, in milliseconds. */
  readonly closeTimeoutMs: number
  readonly counters: Counters
  readonly log: Logger
  /** Whether the peer of this upgrade request inflates what is deflated for everyone. */
  readonly inflates: (request: IncomingMessage) => boolean
  /** Takes out of an upgrade request what would be refused although the client can do without it. */
  readonly prepare: (request: IncomingMessage) => void
  /** Through which upgrades go. */
  readonly upgradeQueue: UpgradeQueue
  readonly websockets: WebSockets
  readonly logSerializers: Record<'req', (request: FastifyRequest) => unknown>
}

/** Not in an OpenAPI document, which has no words for a WebSocket. The field is @fastify/swagger's. */
const HIDDEN = { hide: true } as FastifySchema

/** `GET /ws`: an upgrade becomes a connection, anything else is told to upgrade. */
export function registerWebSocketRoute (app: FastifyInstance, options: WebSocketRouteOptions): void {
  app.route({
    method: 'GET',
    url: options.url,
    schema: HIDDEN,
    logSerializers: options.logSerializers,
    // Fastify asks for a request's logger as soon as it knows the route, and before it makes the request: no hook of the
    // app or of a plugin, such as one that reads a session from a cookie, has seen anything yet.
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

/** What is kept of a socket until it is admitted. */
interface Waiting {
  readonly handshake: Handshake
  readonly departure: DisconnectSignal
}

/** Where a WebSocket's reception is found by listeners that all of them share: functions for each would be memory for each. */
const RECEPTION = Symbol('reception')

function receptionOf (ws: WebSocket): Reception {
  return (ws as WebSocket & { [RECEPTION]: Reception })[RECEPTION]
}

/** A socket of ours: on its way to being a connection, and then that. Lives as long as the socket, so it holds no more. */
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
    // @fastify/websocket's own listener would cut the socket off before a close frame such as 1009 is out.
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

  /** The client sent something that it need not have sent. */
  unasked (): void {
    if (this.connection !== undefined) this.options.inbound.unasked(this.connection)
  }
}

/**
 * A listener that all WebSockets share. What a client does later belongs to no request: ws inflates messages through a queue
 * that all sockets share, so that a message may arrive in another's async context.
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

/** From here on the socket is ours: its errors, its close, its messages. */
function receive (ws: WebSocket, request: FastifyRequest, options: WebSocketRouteOptions): void {
  // injectWS makes requests without a network socket, whatever the type says.
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
      log.error({ err }, 'the broker could not join a new connection: client refused')
      refuse('serverError')
    })
  }, (err) => {
    log.error({ err }, 'a client could not be admitted: client refused')
    refuse('serverError')
  })
}
