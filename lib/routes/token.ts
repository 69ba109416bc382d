import type { FastifyRequest } from 'fastify'

/** What a client that speaks this protocol offers, and what the server answers: never the token. */
export const SUBPROTOCOL = 'ai-canvas.v1'
const TOKEN_PREFIX = 'ai-canvas.token.'

/**
 * The token that a client brought: in the subprotocol (base64url, since a raw token may hold characters that are illegal
 * there), in an `Authorization: Bearer` header, which browsers can't send, or as `?token=`.
 */
export function tokenOf (request: FastifyRequest): string | undefined {
  const offered = request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []
  const carrier = offered.find((name) => name.startsWith(TOKEN_PREFIX))
  if (carrier !== undefined) return Buffer.from(carrier.slice(TOKEN_PREFIX.length), 'base64url').toString()
  const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (bearer !== undefined) return bearer
  const { token } = request.query as { token?: unknown }
  return typeof token === 'string' && token !== '' ? token : undefined
}

/** Chooses the subprotocol to answer: ours if offered, otherwise the first that is no token. */
export function chooseSubprotocol (offered: ReadonlySet<string>): string | false {
  if (offered.has(SUBPROTOCOL)) return SUBPROTOCOL
  for (const name of offered) if (!name.startsWith(TOKEN_PREFIX)) return name
  return false
}

const TOKEN_IN_URL = /([?&]token=)[^&#]*/gi

/** A URL without the token in it, for logs. */
export function redactUrl (url: string): string {
  return url.replace(TOKEN_IN_URL, '$1[redacted]')
}

/** A text without the token in it, for logs: an app's error may quote what it could not read. */
export function redactToken (text: string, token: string | undefined): string {
  return token === undefined ? text : text.replaceAll(token, '[redacted]')
}
