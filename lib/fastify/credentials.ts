import type { IncomingMessage } from 'node:http'
import type { Addressed } from './origin.js'

/** Headers that a browser adds automatically to requests of any page. */
const AMBIENT = ['cookie', 'cookie2', 'authorization', 'proxy-authorization']

/**
 * Removes the credentials that a browser adds automatically. Called for a page of a foreign origin before any plugin sees the
 * request, so that no plugin reads a session from it. What remains are the page's own credentials: a token in the subprotocol
 * or in the query. Idempotent.
 */
export function withholdCredentials (raw: IncomingMessage): void {
  // A request of injectWS has only `headers`, despite its type.
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
 * Returns the headers and host of a request before Fastify has created its request object. `host` respects the app's
 * `trustProxy`. Fastify keeps its request class under a symbol. If a version has no such symbol, `host` is the Host header.
 */
export function addressOf (app: object, raw: IncomingMessage): Addressed {
  const prototype = requestPrototype(app)
  if (prototype === undefined) return { headers: raw.headers, host: raw.headers.host ?? '' }
  return Object.create(prototype, { raw: { value: raw } }) as Addressed
}

/** Searches the prototype chain, because a Fastify scope inherits from its parent scope. */
function requestPrototype (app: object): object | undefined {
  for (let at: object | null = app; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const symbol = Object.getOwnPropertySymbols(at).find(({ description }) => description === 'fastify.Request')
    const request: unknown = symbol && Reflect.get(at, symbol)
    if (typeof request === 'function') return request.prototype as object
  }
  return undefined
}
