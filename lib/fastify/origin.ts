import type { FastifyRequest } from 'fastify'

/** The parts of a request that tell which page opened the socket, and to which host. */
export type Addressed = Pick<FastifyRequest, 'headers' | 'host'>

/**
 * Whether a page of this origin may connect. A request without an `Origin` comes from no browser, and no cookie rides
 * along unasked. Otherwise it is the server's own host, or one that the app lists.
 */
export function isOriginAllowed ({ headers: { origin }, host }: Addressed, allowed: ReadonlySet<string>): boolean {
  if (origin === undefined) return true
  if (allowed.has('*') || allowed.has(origin)) return true
  const page = pageOf(origin)
  return page !== undefined && (isOwnHost(page, host) || isSubdomain(page, allowed))
}

/** The page's URL, unless it has no host, as in a sandboxed frame or a file. */
function pageOf (origin = ''): URL | undefined {
  const page = parse(origin)
  return page?.host === '' ? undefined : page
}

/** Behind a proxy that ends TLS the server's scheme is another one; the page's scheme says which port is the default. */
function isOwnHost (page: URL, host: string): boolean {
  const own = parse(`${page.protocol}//${host}`)
  return own !== undefined && withoutDot(page.host) === withoutDot(own.host)
}

/** The final dot of an absolute domain name is optional, and some proxies remove it. */
function withoutDot (host: string): string {
  return host.replace(/\.(?=:\d+$|$)/, '')
}

const HINTS = {
  opaque: 'the page has no host of its own, as in a sandboxed frame or a file: only a token or `*` in the option `origins` admits it',
  forwardedHost: 'a proxy names the page\'s host in X-Forwarded-Host: Fastify takes the last host there, and only if its ' +
    'option trustProxy trusts the address of the proxy',
  forwarded: 'a proxy names the page\'s host in Forwarded, which Fastify does not read: let the proxy pass the Host header on, or ' +
    'send X-Forwarded-Host and set Fastify\'s option trustProxy',
  port: 'the Host header has lost its port on the way: let the proxy pass it on as it came (nginx: proxy_set_header Host $http_host, ' +
    'not $host)',
  other: 'if it is a page of this app, a proxy has changed the Host header: let it pass the header on (nginx: proxy_set_header Host ' +
    '$http_host), or send X-Forwarded-Host and set Fastify\'s option trustProxy. To admit a page of another host, list its origin in ' +
    'the option `origins`'
}

/**
 * Returns the likely cause for an operator to read in the log. A proxy that changes the host makes the app's own page look
 * foreign. The client may have written these headers itself, so nothing is decided by them.
 */
export function hintFor ({ headers, host }: Addressed): string {
  const page = pageOf(headers.origin)
  if (page === undefined) return HINTS.opaque
  const isListed = (hosts: readonly string[]): boolean => hosts.some((host) => isOwnHost(page, host))
  if (isListed(String(headers['x-forwarded-host'] ?? '').split(','))) return HINTS.forwardedHost
  if (isListed(forwardedHosts(headers.forwarded))) return HINTS.forwarded
  return withoutDot(parse(`http://${host}`)?.host ?? '') === withoutDot(page.hostname) ? HINTS.port : HINTS.other
}

/** The hosts in a `Forwarded` header (RFC 7239, section 5.3). */
function forwardedHosts (header = ''): string[] {
  return Array.from(header.matchAll(/(?:^|[;,])\s*host="?([^";,\s]+)/gi), ([, host = '']) => host)
}

/** Whether a listed wildcard covers the page: same scheme, same port, and a name that ends in the listed domain. */
function isSubdomain ({ protocol, hostname, port }: URL, allowed: ReadonlySet<string>): boolean {
  const suffix = port === '' ? hostname : `${hostname}:${port}`
  for (const listed of allowed) {
    const [scheme, domain] = listed.split('//*')
    if (domain !== undefined && scheme === protocol && suffix.endsWith(domain)) return true
  }
  return false
}

/** A top-level domain, or nothing: everybody may register a name there, so a wildcard would restrict nobody. */
const IS_TOP_LEVEL = /^[^.]*$/

/**
 * As browsers write an origin: scheme, host, and the port unless it is the scheme's own. `https://*.example.com` stands for
 * every subdomain of example.com at any depth, and not for example.com itself, as in a Content-Security-Policy.
 */
export function normalizeOrigin (text: string): string | undefined {
  if (text === '*') return text
  const url = parse(text)
  if (url === undefined || url.origin === 'null') return undefined
  const domain = url.hostname.startsWith('*.') ? url.hostname.slice(2) : url.hostname
  const isWildcard = domain !== url.hostname
  if (domain.includes('*') || (isWildcard && domain !== 'localhost' && IS_TOP_LEVEL.test(domain))) return undefined
  return url.origin
}

function parse (text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}
