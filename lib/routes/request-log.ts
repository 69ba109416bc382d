import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import { redactDeep, redactUrl, tokenOf } from './token.js'

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
    // injectWS makes requests without a socket, whatever the type says. An app may log Node's own request, which has one too.
    remotePort: (request.socket as FastifyRequest['socket'] | undefined)?.remotePort
  }
}

/** The app's own `req` serializer with the token taken out of what it says, or ours. */
export function redactedSerializers (log: FastifyBaseLogger): Record<'req', Serializer> {
  const own = (log as unknown as Record<symbol, Partial<Record<'req', Serializer>> | undefined>)[SERIALIZERS]?.req
  return { req: own === undefined ? redactedRequest : (request) => redactDeep(own(request), tokenOf(request)) }
}

/**
 * Fastify's own answer to a URL without a route logs that URL as a sentence, which no serializer sees. Of those that were
 * meant for us it gets one without the token.
 */
export function redactNotFound (app: FastifyInstance, url: string): void {
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.is404 && request.url.startsWith(url)) request.raw.url = redactUrl(request.url)
    done()
  })
}
