import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import { redactDeep, redactUrl, tokensOf } from './token.js'

type Serializer = (value: never) => unknown
type Serializers = Record<string, Serializer | undefined>

/** Property in which pino keeps a logger's serializers. Child loggers without their own serializers share the object. */
const SERIALIZERS = Symbol.for('pino.serializers')

/**
 * `req` serializer for Fastify's request log that redacts tokens in URLs. The plugin redacts the output of Fastify's own logger
 * (pino) automatically. Pass this serializer to a logger that your app creates itself.
 */
export function redactedRequest (request: FastifyRequest): Record<string, unknown> {
  return {
    method: request.method,
    url: redactUrl(request.url),
    host: request.host,
    remoteAddress: request.ip,
    // Requests of injectWS have no socket, despite the type. An app may also log Node's own request, which has one.
    remotePort: (request.socket as FastifyRequest['socket'] | undefined)?.remotePort
  }
}

/**
 * Redacts tokens in everything that Fastify logs about the app's requests, for all paths and methods, and in whatever scope the
 * plugin is registered:
 *
 * - the output of the `req` and `res` serializers
 * - the field `path`, in which @fastify/websocket logs the URL of an upgrade without a handler, unless the app has a serializer
 *   for it
 * - messages that quote a URL, such as "Route GET:/ws/?token=… not found"
 *
 * Returns the serializers for the plugin's own routes. Without them, a scope's serializers could replace the redacting ones.
 */
export function redactRequestLog (app: FastifyInstance): Record<'req', (request: FastifyRequest) => unknown> {
  const serializers = serializersOf(app.log)
  const { req = redactedRequest as Serializer, res } = serializers ?? {}
  const redacted = redactedBy(req)
  if (serializers !== undefined) {
    serializers.req = redacted
    if (res !== undefined) serializers.res = redactedBy(res)
    serializers.path ??= (value: unknown) => typeof value === 'string' ? redactUrl(value) : value
  }
  // On the root instance, because it handles URLs without a route. Its hooks apply to existing scopes too.
  rootOf(app).addHook('onRequest', (request, reply, done) => {
    if (redactUrl(request.url) !== request.url) {
      request.log = withRedactedMessages(request.log)
      reply.log = withRedactedMessages(reply.log)
    }
    done()
  })
  return { req: redacted as (request: FastifyRequest) => unknown }
}

function serializersOf (log: FastifyBaseLogger): Serializers | undefined {
  return (log as unknown as Record<symbol, Serializers | undefined>)[SERIALIZERS]
}

function redactedBy (own: Serializer): Serializer {
  return own === redactedRequest ? own : (value: never) => redactDeep(own(value), tokensOf(value))
}

/** Returns the root instance. Scopes inherit from it, and only the root has `server` as an own property. */
function rootOf (app: FastifyInstance): FastifyInstance {
  let root = app
  while (!Object.hasOwn(root, 'server')) root = Object.getPrototypeOf(root) as FastifyInstance
  return root
}

/** Returns a logger that redacts its messages. Fields are redacted by the serializers. */
function withRedactedMessages<T extends FastifyBaseLogger> (log: T): T {
  return new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        return Reflect.apply(value, target, args.map((arg) => typeof arg === 'string' ? redactUrl(arg) : arg))
      }
    }
  })
}
