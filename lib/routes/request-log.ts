import type { Socket } from 'node:net'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { redactUrl } from './token.js'

type Serializer = (request: FastifyRequest) => unknown

/** Where pino keeps a logger's serializers. */
const SERIALIZERS = Symbol.for('pino.serializers')

/**
 * A `req` serializer for Fastify's request log that leaves tokens out of URLs. The plugin uses it for its own route. For
 * requests that reach no route, such as `/ws/?token=…`, give it to the app:
 * `Fastify({ logger: { serializers: { req: redactedRequest } } })`.
 */
export function redactedRequest (request: FastifyRequest): Record<string, unknown> {
  return {
    method: request.method,
    url: redactUrl(request.url),
    host: request.host,
    remoteAddress: request.ip,
    // injectWS makes requests without a socket, whatever the type says.
    remotePort: (request.raw.socket as Socket | undefined)?.remotePort
  }
}

/** The app's own `req` serializer with the token taken out of what it says, or ours. */
export function redactedSerializers (log: FastifyBaseLogger): Record<'req', Serializer> {
  const own = (log as unknown as Record<symbol, Partial<Record<'req', Serializer>> | undefined>)[SERIALIZERS]?.req
  return { req: own === undefined ? redactedRequest : (request) => redactFields(own(request)) }
}

function redactFields (said: unknown): unknown {
  if (typeof said !== 'object' || said === null) return said
  const fields = Object.entries(said).map(([name, value]): [string, unknown] => [
    name, typeof value === 'string' ? redactUrl(value) : name === 'headers' ? withoutSecrets(value) : value
  ])
  return Object.fromEntries(fields)
}

function withoutSecrets (headers: unknown): unknown {
  return { ...headers as object, 'sec-websocket-protocol': '[redacted]', authorization: '[redacted]' }
}
