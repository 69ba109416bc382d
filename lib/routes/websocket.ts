import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type {} from '@fastify/websocket'
import type { FastifyInstance, FastifyRequest, FastifySchema } from 'fastify'
import type { WebSocket, WebSocketServer } from 'ws'
import { detached, outsideRequests } from '../async-context.js'
import { proceed, whenThere } from '../maybe-promise.js'
import type { CloseName } from '../protocol/codes.js'
import type { Arrival, Arrivals } from '../server/arrivals.js'
import type { Connection } from '../server/connection.js'
import type { Connections } from '../server/connections.js'
import type { Counters } from '../server/counters.js'
import type { Heartbeat } from '../server/heartbeat.js'
import type { Inbound } from '../server/inbound.js'
import type { Logger } from '../server/logger.js'
import type { Admission } from './admission.js'
import { addressOf, withholdCredentials } from './credentials.js'
import { Departure } from './departure.js'
import { EarlyMessages } from './early-messages.js'
import { endRefusedUpgrades } from './refused-upgrades.js'
import { createTransport } from './transport.js'
import type { Turnstile } from './turnstile.js'

export interface WebSocketRouteOptions {
  readonly url: string
  readonly admission: Admission
  readonly arrivals: Arrivals
  readonly connections: Connections
  readonly inbound: Inbound
  readonly heartbeat: Heartbeat
  readonly counters: Counters
  readonly log: Logger
  /** Whether the peer of this upgrade request inflates what is deflated for everyone. */
  readonly inflates: (request: IncomingMessage) => boolean
  /** Takes out of an upgrade request what would be refused although the client can do without it. */
  readonly prepare: (request: IncomingMessage) => void
  /** Through which upgrades go. */
  readonly turnstile: Turnstile
  readonly websocketServer: WebSocketServer
  readonly logSerializers: Record<'req', (request: FastifyRequest) => unknown>
}

/** Not in an OpenAPI document, which has no words for a WebSocket. The field is @fastify/swagger's. */
const HIDDEN = { hide: true } as FastifySchema

/** `GET /ws`: an upgrade becomes a connection, anything else is told to upgrade. */
export function registerWebSocketRoute (app: FastifyInstance, options: WebSocketRouteOptions): void {
  endRefusedUpgrades(app)
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
      options.turnstile.pass(() => {
        options.prepare(request.raw)
        done()
      })
    },
    handler: (_request, reply) => reply.code(426).header('upgrade', 'websocket').send({
      statusCode: 426, error: 'Upgrade Required', message: 'this is a WebSocket endpoint: connect with a WebSocket client'
    }),
    wsHandler: (ws, request) => { receive(ws, request, options) }
  })
}

/** What is kept of a socket until it is admitted. */
interface Waiting {
  readonly arrival: Arrival
  readonly early: EarlyMessages
  readonly departure: Departure
}

/** A socket of ours: on its way to being a connection, and then that. Lives as long as the socket, so it holds no more. */
interface Reception {
  readonly ws: WebSocket
  waiting: Waiting | undefined
  connection: Connection | undefined
}

/** From here on the socket is ours: its errors, its close, its messages. */
function receive (ws: WebSocket, request: FastifyRequest, options: WebSocketRouteOptions): void {
  // injectWS makes requests without a network socket, whatever the type says.
  const socket = request.raw.socket as Duplex | undefined
  const arrival = options.arrivals.begin(createTransport(ws, socket, options.inflates(request.raw)))
  const waiting = { arrival, early: new EarlyMessages(ws, socket), departure: new Departure() }
  const reception = { ws, waiting, connection: undefined }
  listen(reception, options)
  // The app's @fastify/websocket closes the clients that it knows without saying why; ours are closed by us.
  options.websocketServer.clients.delete(ws)
  if (arrival.refusal === undefined) admit(reception, waiting, request, options)
}

/**
 * Apart from `receive` and `admit`: what a listener can see lives as long as the socket, and a request is large. What a
 * client does later belongs to no request: ws inflates messages through a queue that all sockets share, so that a message
 * may arrive in another's async context.
 */
function listen (reception: Reception, { arrivals, connections, inbound, heartbeat, log }: WebSocketRouteOptions): void {
  const { ws } = reception
  // @fastify/websocket's own listener would cut the socket off before a close frame such as 1009 is out.
  ws.removeAllListeners('error')
  ws.on('error', detached((error: Error & { code?: string }) => {
    log.debug({ clientId: reception.connection?.id, code: error.code }, 'a socket failed')
  }))
  ws.on('close', detached((code: number) => {
    const { waiting, connection } = reception
    waiting?.departure.note()
    if (waiting !== undefined) arrivals.end(waiting.arrival)
    if (connection !== undefined) connections.remove(connection, code)
  }))
  ws.on('message', detached((data: Buffer, isBinary: boolean) => {
    const { waiting, connection } = reception
    if (connection !== undefined) inbound.receive(connection, data, isBinary)
    else if (waiting?.arrival.refusal === undefined) waiting?.early.hold(data, isBinary)
  }))
  ws.on('ping', detached(() => {
    if (reception.connection !== undefined) inbound.pinged(reception.connection)
  }))
  ws.on('pong', (payload: Buffer) => {
    if (reception.connection !== undefined) heartbeat.pong(reception.connection, payload)
  })
}

function admit (reception: Reception, waiting: Waiting, request: FastifyRequest, options: WebSocketRouteOptions): void {
  const { admission, arrivals, counters, inbound, log } = options
  const { arrival, early, departure } = waiting
  const refuse = (name: CloseName, detail?: string, fields?: object): void => {
    early.release()
    arrivals.refuse(arrival, name, detail, fields)
  }
  void whenThere(admission.admit(request, departure), (verdict) => {
    if ('refused' in verdict) {
      refuse(verdict.refused, verdict.detail, verdict.fields)
      return
    }
    if (verdict.returns) counters.returned++
    return proceed(() => arrivals.accept(arrival, verdict), (accepted) => {
      if (typeof accepted === 'string') {
        refuse(accepted)
        return
      }
      reception.connection = accepted
      reception.waiting = undefined
      for (const { data, isBinary } of early.release()) outsideRequests(() => { inbound.receive(accepted, data, isBinary) })
    }, (err) => {
      log.error({ err }, 'the broker could not join a new connection: client refused')
      refuse('serverError')
    })
  })
}
