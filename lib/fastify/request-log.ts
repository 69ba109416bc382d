import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import { redactDeep, redactUrl, tokensOf } from './token.js'

type Serializer = (value: never) => unknown
type Serializers = Record<string, Serializer | undefined>

/** Where pino keeps a logger's serializers. Children without serializers of their own share the object. */
const SERIALIZERS = Symbol.for('pino.serializers')

/**
 * A `req` serializer for Fastify's request log that leaves tokens out of URLs. The plugin redacts what Fastify's own logger
 * (pino) says by itself. Give this one to a logger that an app makes of its own.
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

/**
 * Takes tokens out of everything that Fastify itself logs about the requests of an app, whatever their path and method, and
 * in whatever scope the plugin is registered:
 *
 * - the `req` and `res` serializers go on saying what they say, without the token
 * - the field `path`, in which @fastify/websocket logs the URL of an upgrade that has no handler, unless the app has a
 *   serializer for it
 * - sentences that quote a URL, such as "Route GET:/ws/?token=… not found"
 *
 * Returns the serializers for the plugin's own routes, which otherwise those of a scope could replace.
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
  // Of the root, because that answers for URLs that no scope knows. Hooks reach the scopes that exist already too.
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

/** Scopes inherit from each other, and the root from nothing that has a server. */
function rootOf (app: FastifyInstance): FastifyInstance {
  let root = app
  while (!Object.hasOwn(root, 'server')) root = Object.getPrototypeOf(root) as FastifyInstance
  return root
}

/** A request's logger whose texts are redacted. Fields are the serializers' matter. */
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
