import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type {} from '@fastify/websocket'
import type { FastifyInstance, FastifyRequest, FastifySchema } from 'fastify'
import type { WebSocket } from 'ws'
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
import { Departure } from './departure.js'
import { EarlyMessages } from './early-messages.js'
import { redactNotFound } from './request-log.js'
import { createTransport } from './transport.js'
import type { Turnstile } from './turnstile.js'
import type { WebSockets } from './websocket-server.js'

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
  readonly websockets: WebSockets
  readonly logSerializers: Record<'req', (request: FastifyRequest) => unknown>
}

/** Not in an OpenAPI document, which has no words for a WebSocket. The field is @fastify/swagger's. */
const HIDDEN = { hide: true } as FastifySchema

/** `GET /ws`: an upgrade becomes a connection, anything else is told to upgrade. */
export function registerWebSocketRoute (app: FastifyInstance, options: WebSocketRouteOptions): void {
  redactNotFound(app, options.url)
  app.route({
    method: 'GET',
    url: options.url,
    schema: HIDDEN,
    logSerializers: options.logSerializers,
    onRequest: (request, _reply, done) => {
      options.turnstile.pass(() => {
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
  if (arrival.refusal === undefined) admit(reception, waiting, request, options)
}

/** Apart from `receive` and `admit`: what a listener can see lives as long as the socket, and a request is large. */
function listen (reception: Reception, { arrivals, connections, inbound, heartbeat, log }: WebSocketRouteOptions): void {
  const { ws } = reception
  // @fastify/websocket's own listener would cut the socket off before a close frame such as 1009 is out.
  ws.removeAllListeners('error')
  ws.on('error', (error: Error & { code?: string }) => {
    log.debug({ clientId: reception.connection?.id, code: error.code }, 'a socket failed')
  })
  ws.on('close', (code) => {
    const { waiting, connection } = reception
    waiting?.departure.note()
    if (waiting !== undefined) arrivals.end(waiting.arrival)
    if (connection !== undefined) connections.remove(connection, code)
  })
  ws.on('message', (data: Buffer, isBinary) => {
    const { waiting, connection } = reception
    if (connection !== undefined) inbound.receive(connection, data, isBinary)
    else if (waiting?.arrival.refusal === undefined) waiting?.early.hold(data, isBinary)
  })
  ws.on('ping', () => {
    if (reception.connection !== undefined) inbound.pinged(reception.connection)
  })
  ws.on('pong', (payload: Buffer) => {
    if (reception.connection !== undefined) heartbeat.pong(reception.connection, payload)
  })
}

function admit (reception: Reception, waiting: Waiting, request: FastifyRequest, options: WebSocketRouteOptions): void {
  const { admission, arrivals, counters, inbound, log } = options
  const { arrival, early, departure } = waiting
  const refuse = (name: CloseName, detail?: string): void => {
    early.release()
    arrivals.refuse(arrival, name, detail)
  }
  void whenThere(admission.admit(request, departure), (verdict) => {
    if ('refused' in verdict) {
      refuse(verdict.refused, verdict.detail)
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
      for (const { data, isBinary } of early.release()) inbound.receive(accepted, data, isBinary)
    }, (err) => {
      log.error({ err }, 'the broker could not join a new connection: client refused')
      refuse('serverError')
    })
  })
}
