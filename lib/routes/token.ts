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
  const carried = carrier && Buffer.from(carrier.slice(TOKEN_PREFIX.length), 'base64url').toString()
  const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
  const { token } = (request.query ?? {}) as { token?: unknown }
  return [carried, bearer, token].find((found): found is string => typeof found === 'string' && found !== '')
}

/** Chooses the subprotocol to answer: ours if offered, otherwise the first that is no token. */
export function chooseSubprotocol (offered: ReadonlySet<string>): string | false {
  if (offered.has(SUBPROTOCOL)) return SUBPROTOCOL
  for (const name of offered) if (!name.startsWith(TOKEN_PREFIX)) return name
  return false
}

const PARAMETER = /([?&;])([^=&;#]*)=([^&;#]*)/g
const REDACTED = '[redacted]'

/** A URL without the token in it, for logs. The name counts as it is read: `%74oken` is `token` too. */
export function redactUrl (url: string): string {
  return url.replace(PARAMETER, (parameter, before: string, name: string) => {
    return decoded(name).toLowerCase() === 'token' ? `${before}${name}=${REDACTED}` : parameter
  })
}

function decoded (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Stretches that are long enough to be worth hiding, without what commonly stands around a quotation. */
const WORD = /[\w+/%-]{6,}/g

/**
 * A text without the token in it, for logs: an app's error may quote what it could not read. A part of the token, such
 * as one segment of a JWT, and the token written in another way are taken out too.
 */
export function redactToken (text: string, token: string | undefined): string {
  if (token === undefined) return text
  const bytes = Buffer.from(token)
  const forms = [...new Set([
    token, JSON.stringify(token).slice(1, -1), encodeURIComponent(bytes.toString()), bytes.toString('base64url')
  ])]
  const left = forms.reduce((left, form) => left.replaceAll(form, REDACTED), text)
  return left.replace(WORD, (word) => forms.some((form) => form.includes(word)) ? REDACTED : word)
}

const SECRET_FIELDS = new Set(['token', 'authorization', 'sec-websocket-protocol'])
const MAX_DEPTH = 5

/** Anything that is about to be logged, without the token in it. */
export function redactDeep (value: unknown, token: string | undefined, depth = 0): unknown {
  if (typeof value === 'string') return redactToken(redactUrl(value), token)
  if (typeof value !== 'object' || value === null) return value
  if (depth === MAX_DEPTH) return REDACTED
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') return redactDeep(toJSON.call(value), token, depth + 1)
  if (Array.isArray(value)) return value.map((item) => redactDeep(item, token, depth + 1))
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [
    name, SECRET_FIELDS.has(name.toLowerCase()) ? REDACTED : redactDeep(field, token, depth + 1)
  ]))
}
