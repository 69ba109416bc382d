import createError from '@fastify/error'
import type { onRequestHookHandler } from 'fastify'

const ForeignOrigin = createError('CANVAS_ERR_FOREIGN_ORIGIN',
  'a page of %s may not start jobs here: name its origin in ORIGINS when you start the server', 403)

/**
 * Refuses what a browser sends for a page of another host. Such a page can't read the answer, but without this it could
 * make a server on its visitor's own machine work, and spend the visitor's tokens. The port may be another one, as that
 * of a development server for the pages.
 */
export function sameSite (allowed: readonly string[]): onRequestHookHandler {
  return ({ headers: { origin }, hostname }, _reply, done) => {
    const welcome = origin === undefined || allowed.includes(origin) || (URL.canParse(origin) && new URL(origin).hostname === hostname)
    done(welcome ? undefined : new ForeignOrigin(origin))
  }
}
