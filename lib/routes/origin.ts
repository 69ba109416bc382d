import type { FastifyRequest } from 'fastify'

/**
 * Whether a page of this origin may connect. A request without an `Origin` comes from no browser, and no cookie rides
 * along unasked. Otherwise it is the server's own host, or one that the app lists.
 */
export function isOriginAllowed (request: FastifyRequest, allowed: ReadonlySet<string>): boolean {
  const { origin } = request.headers
  if (origin === undefined) return true
  if (allowed.has('*') || allowed.has(origin)) return true
  const page = parse(origin)
  // Behind a proxy that ends TLS the server's scheme is another one; the page's tells which port goes without saying.
  return page !== undefined && page.host !== '' && page.host === parse(`${page.protocol}//${request.host}`)?.host
}

/** As browsers write an origin: scheme, host, and the port unless it is the scheme's own. */
export function normalizeOrigin (text: string): string | undefined {
  if (text === '*') return text
  const url = parse(text)
  return url === undefined || url.origin === 'null' ? undefined : url.origin
}

function parse (text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}
