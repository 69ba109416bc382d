import { isIP } from 'node:net'
import createError from '@fastify/error'
import type { onRequestHookHandler } from 'fastify'

const ForeignOrigin = createError('CANVAS_ERR_FOREIGN_ORIGIN',
  'a page of %s may not use this server: add its origin to ORIGINS when you start it', 403)

/**
 * Refuses requests and WebSocket upgrades that a browser sends for a page of another host. Such a page can't read HTTP
 * responses, but it could start jobs on its visitor's own machine, spend the visitor's tokens, and read and stop jobs through a
 * WebSocket. The port may differ, as with a development server. Clients other than browsers, such as curl and wscat, send no
 * origin.
 */
export function sameSite (allowed: readonly string[]): onRequestHookHandler {
  return ({ headers: { origin }, hostname }, _reply, done) => {
    done(origin === undefined || allowed.includes(origin) || isOwn(origin, hostname) ? undefined : new ForeignOrigin(origin))
  }
}

/**
 * Returns whether the page belongs to the requested host. A host name other than this machine's must be listed, because its owner
 * could let it point to this machine (DNS rebinding). To a browser the owner's pages would then belong to this host.
 */
function isOwn (origin: string, hostname: string): boolean {
  const page = URL.canParse(origin) ? new URL(origin).hostname : ''
  return page === hostname && (page === 'localhost' || isIP(page.replace(/^\[(.*)\]$/, '$1')) !== 0)
}
