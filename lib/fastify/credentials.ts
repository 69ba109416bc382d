import type { IncomingMessage } from 'node:http'
import type { Addressed } from './origin.js'

/** What a browser adds by itself to a request that a page makes, whatever page that is. */
const AMBIENT = ['cookie', 'cookie2', 'authorization', 'proxy-authorization']

/**
 * Takes out of a request what a browser adds by itself. Called for a page of a foreign origin before anything else has seen
 * the request, so that no plugin has read a session from it. What remains is what the page itself brought: a token in the
 * subprotocol or in the query. Idempotent.
 */
export function withholdCredentials (raw: IncomingMessage): void {
  // What injectWS makes has headers alone, whatever the type says.
  const { headers, headersDistinct, rawHeaders } = raw as Partial<IncomingMessage>
  for (const name of AMBIENT) {
    if (headers !== undefined) Reflect.deleteProperty(headers, name)
    if (headersDistinct !== undefined) Reflect.deleteProperty(headersDistinct, name)
  }
  if (rawHeaders === undefined) return
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2) {
    if (AMBIENT.includes(String(rawHeaders[at]).toLowerCase())) rawHeaders.splice(at, 2)
  }
}

/**
 * A request as Fastify will show it, before it has made it: `host` is what the app's `trustProxy` makes of it. Fastify keeps
 * its class of requests under a symbol. In a version that has none, the host is the header's.
 */
export function addressOf (app: object, raw: IncomingMessage): Addressed {
  const prototype = requestPrototype(app)
  if (prototype === undefined) return { headers: raw.headers, host: raw.headers.host ?? '' }
  return Object.create(prototype, { raw: { value: raw } }) as Addressed
}

/** An app that is registered in a scope inherits from the one around it. */
function requestPrototype (app: object): object | undefined {
  for (let at: object | null = app; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const symbol = Object.getOwnPropertySymbols(at).find(({ description }) => description === 'fastify.Request')
    const request: unknown = symbol && Reflect.get(at, symbol)
    if (typeof request === 'function') return request.prototype as object
  }
  return undefined
}
