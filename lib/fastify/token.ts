import type { FastifyRequest } from 'fastify'

/** Subprotocol of this protocol. The server selects it, and never the one that carries the token. */
export const SUBPROTOCOL = 'ai-canvas.v1'
const TOKEN_PREFIX = 'ai-canvas.token.'

/**
 * Returns a client's token: from the subprotocol, from an `Authorization: Bearer` header, which browsers can't send, or from
 * `?token=`. The subprotocol carries it as base64url, because a raw token may contain characters that are illegal there.
 */
export function tokenOf (request: FastifyRequest): string | undefined {
  return tokensOf(request)[0]
}

/** Returns all tokens of a request, in order of precedence. Accepts any value that a logger gets as a request. */
export function tokensOf ({ headers, query }: Partial<Pick<FastifyRequest, 'headers' | 'query'>>): string[] {
  const offered = headers?.['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []
  const carrier = offered.find((name) => name.startsWith(TOKEN_PREFIX))
  const carried = carrier && Buffer.from(carrier.slice(TOKEN_PREFIX.length), 'base64url').toString()
  const bearer = /^Bearer (.+)$/i.exec(headers?.authorization ?? '')?.[1]
  const { token } = (query ?? {}) as { token?: unknown }
  return [carried, bearer, token].filter((found): found is string => typeof found === 'string' && found !== '')
}

/** Selects the subprotocol of the response: `SUBPROTOCOL` if offered, otherwise the first that does not carry a token. */
export function chooseSubprotocol (offered: ReadonlySet<string>): string | false {
  if (offered.has(SUBPROTOCOL)) return SUBPROTOCOL
  for (const name of offered) if (!name.startsWith(TOKEN_PREFIX)) return name
  return false
}

const REDACTED = '[redacted]'

/**
 * Matches the start of a parameter. Routers differ in the characters that start a query: `?`, and for some also `;` or `#`. A
 * second one becomes part of a value. So each of them counts at any position.
 */
const PARAMETER = /[?&;#]([^?&;#=\s]*)=/g

/**
 * Returns a URL, or a message that quotes one, with the token redacted. Names are decoded first: `%74oken`, `TOKEN` and
 * `token[]` count as `token` too. The value ends at `&`, as in every router.
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

/** Whether it is `token`, or a form that query parsers read as a list or an object: `token[]`, `token[0]`. */
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

/** Matches sequences that are long enough to be part of a token, without quotation marks and other punctuation around them. */
const WORD = /[\w+/%-]{6,}/g

/**
 * Returns a text with the token redacted, because an app's error may quote it. Also redacts parts of the token, such as one
 * segment of a JWT, and other encodings of it.
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

/**
 * Returns a value for the log with all tokens redacted, at any depth. The `redact` option of pino replaces whole values at paths
 * that are known in advance. This also finds a token inside a string, such as a URL, at any path.
 */
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
