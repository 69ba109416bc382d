import type { FastifyRequest } from 'fastify'

/** What a client that speaks this protocol offers, and what the server answers: never the token. */
export const SUBPROTOCOL = 'ai-canvas.v1'
const TOKEN_PREFIX = 'ai-canvas.token.'

/**
 * The token that a client brought: in the subprotocol (base64url, since a raw token may hold characters that are illegal
 * there), in an `Authorization: Bearer` header, which browsers can't send, or as `?token=`.
 */
export function tokenOf (request: FastifyRequest): string | undefined {
  return tokensOf(request)[0]
}

/** All of them, in the order in which they count. Takes whatever a logger is given for a request. */
export function tokensOf ({ headers, query }: Partial<Pick<FastifyRequest, 'headers' | 'query'>>): string[] {
  const offered = headers?.['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []
  const carrier = offered.find((name) => name.startsWith(TOKEN_PREFIX))
  const carried = carrier && Buffer.from(carrier.slice(TOKEN_PREFIX.length), 'base64url').toString()
  const bearer = /^Bearer (.+)$/i.exec(headers?.authorization ?? '')?.[1]
  const { token } = (query ?? {}) as { token?: unknown }
  return [carried, bearer, token].filter((found): found is string => typeof found === 'string' && found !== '')
}

/** Chooses the subprotocol to answer: ours if offered, otherwise the first that is no token. */
export function chooseSubprotocol (offered: ReadonlySet<string>): string | false {
  if (offered.has(SUBPROTOCOL)) return SUBPROTOCOL
  for (const name of offered) if (!name.startsWith(TOKEN_PREFIX)) return name
  return false
}

const REDACTED = '[redacted]'

/**
 * The start of a parameter. Routers differ in what begins a query: `?`, and for some `;` or `#` too; and one that is written
 * twice becomes a part of the value before it. So each counts wherever it stands.
 */
const PARAMETER = /[?&;#]([^?&;#=\s]*)=/g

/**
 * A URL without the token in it, or a sentence that quotes one, for logs. A name counts as it is read: `%74oken`, `TOKEN` and
 * `token[]` are `token` too. Its value ends where every router ends it: at `&`.
 */
export function redactUrl (url: string): string {
  if (!url.includes('=')) return url
  let shown = ''
  let from = 0
  for (const { 0: start, 1: name = '', index } of url.matchAll(PARAMETER)) {
    if (index < from || !isTokenName(decoded(name))) continue
    const value = index + start.length
    const length = url.slice(value).search(/[&\s]/)
    shown += url.slice(from, value) + REDACTED
    from = length === -1 ? url.length : value + length
  }
  return from === 0 ? url : shown + url.slice(from)
}

/** `token`, and what a query parser makes a list or an object of: `token[]`, `token[0]`. */
function isTokenName (name: string): boolean {
  return /^\s*token\s*(\[|$)/i.test(name.replaceAll('+', ' '))
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
export function redactToken (text: string, token: string): string {
  const bytes = Buffer.from(token)
  const forms = [...new Set([
    token, JSON.stringify(token).slice(1, -1), encodeURIComponent(bytes.toString()), bytes.toString('base64url')
  ])]
  const left = forms.reduce((left, form) => left.replaceAll(form, REDACTED), text)
  return left.replace(WORD, (word) => forms.some((form) => form.includes(word)) ? REDACTED : word)
}

const SECRET_FIELDS = new Set(['authorization', 'proxy-authorization', 'sec-websocket-protocol'])
const MAX_DEPTH = 5

function isSecret (name: string): boolean {
  return SECRET_FIELDS.has(name.toLowerCase()) || isTokenName(name)
}

/** Anything that is about to be logged, without the tokens in it. */
export function redactDeep (value: unknown, tokens: readonly string[], depth = 0): unknown {
  if (typeof value === 'string') return tokens.reduce(redactToken, redactUrl(value))
  if (typeof value !== 'object' || value === null) return value
  if (depth === MAX_DEPTH) return REDACTED
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') return redactDeep(toJSON.call(value), tokens, depth + 1)
  if (Array.isArray(value)) return value.map((item) => redactDeep(item, tokens, depth + 1))
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [
    name, isSecret(name) ? REDACTED : redactDeep(field, tokens, depth + 1)
  ]))
}
