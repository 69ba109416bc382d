import { isIP } from 'node:net'
import createError from '@fastify/error'
import type { onRequestHookHandler } from 'fastify'

const ForeignOrigin = createError('CANVAS_ERR_FOREIGN_ORIGIN',
  'a page of %s may not use this server: name its origin in ORIGINS when you start it', 403)

/**
 * Refuses what a browser sends for a page of another host, upgrades to WebSocket too. Such a page can't read an answer of
 * HTTP, but without this it could make a server on its visitor's own machine work, spend the visitor's tokens, and through
 * a WebSocket read and stop their jobs. The port may be another one, as that of a development server for the pages. What is
 * no browser, such as curl and wscat, says no origin.
 */
export function sameSite (allowed: readonly string[]): onRequestHookHandler {
  return ({ headers: { origin }, hostname }, _reply, done) => {
    done(origin === undefined || allowed.includes(origin) || isOwn(origin, hostname) ? undefined : new ForeignOrigin(origin))
  }
}

/**
 * Whether the page is of the host that it asks. A name that is not this machine's own must be listed: its owner may let it
 * point to here, and then to a browser the owner's pages are of this host.
 */
function isOwn (origin: string, hostname: string): boolean {
  const page = URL.canParse(origin) ? new URL(origin).hostname : ''
  return page === hostname && (page === 'localhost' || isIP(page.replace(/^\[(.*)\]$/, '$1')) !== 0)
}
