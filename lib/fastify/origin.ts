import type { FastifyRequest } from 'fastify'

/** The parts of a request that identify the page that opened the socket, and the host that it addressed. */
export type Addressed = Pick<FastifyRequest, 'headers' | 'host'>

/**
 * Whether a page of this origin may connect. A request without an `Origin` does not come from a browser, so no cookie was added
 * automatically. Otherwise the origin must be the server's own host or in the app's list.
 */
export function isOriginAllowed ({ headers: { origin }, host }: Addressed, allowed: ReadonlySet<string>): boolean {
  if (origin === undefined) return true
  if (allowed.has('*') || allowed.has(origin)) return true
  const page = pageOf(origin)
  return page !== undefined && (isOwnHost(page, host) || isSubdomain(page, allowed))
}

/** Returns the page's URL. Returns undefined for a page without a host, such as a sandboxed frame or a file. */
function pageOf (origin = ''): URL | undefined {
  const page = parse(origin)
  return page?.host === '' ? undefined : page
}

/** Compares with the page's scheme, which decides the default port. The server's own scheme differs behind a TLS proxy. */
function isOwnHost (page: URL, host: string): boolean {
  const own = parse(`${page.protocol}//${host}`)
  return own !== undefined && withoutDot(page.host) === withoutDot(own.host)
}

/** Removes the final dot of an absolute domain name. It is optional, and some proxies remove it. */
function withoutDot (host: string): string {
  return host.replace(/\.(?=:\d+$|$)/, '')
}

const HINTS = {
  opaque: 'the page has no host, as in a sandboxed frame or a file: only a token or `*` in the option `origins` admits it',
  forwardedHost: 'a proxy names the page\'s host in X-Forwarded-Host: Fastify takes the last host there, and only if its ' +
    'option trustProxy trusts the address of the proxy',
  forwarded: 'a proxy names the page\'s host in Forwarded, which Fastify does not read: let the proxy pass the Host header on, or ' +
    'send X-Forwarded-Host and set Fastify\'s option trustProxy',
  port: 'a proxy has removed the port from the Host header: let the proxy pass the header on unchanged (nginx: proxy_set_header Host ' +
    '$http_host, not $host)',
  other: 'if it is a page of this app, a proxy has changed the Host header: let it pass the header on (nginx: proxy_set_header Host ' +
    '$http_host), or send X-Forwarded-Host and set Fastify\'s option trustProxy. To admit a page of another host, list its origin in ' +
    'the option `origins`'
}

/**
 * Returns the likely cause of a refused origin, for the log. A proxy that changes the host makes the app's own page look
 * foreign. These headers are only a hint, because the client may have set them itself.
 */
export function hintFor ({ headers, host }: Addressed): string {
  const page = pageOf(headers.origin)
  if (page === undefined) return HINTS.opaque
  const isListed = (hosts: readonly string[]): boolean => hosts.some((host) => isOwnHost(page, host))
  if (isListed(String(headers['x-forwarded-host'] ?? '').split(','))) return HINTS.forwardedHost
  if (isListed(forwardedHosts(headers.forwarded))) return HINTS.forwarded
  return withoutDot(parse(`http://${host}`)?.host ?? '') === withoutDot(page.hostname) ? HINTS.port : HINTS.other
}

/** Returns the hosts in a `Forwarded` header (RFC 7239, section 5.3). */
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

/** Matches a top-level domain, or an empty name. Anyone can register names there, so a wildcard would not restrict anything. */
const IS_TOP_LEVEL = /^[^.]*$/

/**
 * Returns an origin as browsers write it: scheme, host, and any port other than the scheme's default. Returns undefined for an
 * invalid one. `https://*.example.com` matches every subdomain of example.com at any depth, but not example.com itself, as in a
 * Content-Security-Policy.
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
