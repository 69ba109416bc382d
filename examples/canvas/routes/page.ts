import { existsSync } from 'node:fs'
import { join } from 'node:path'
import createError from '@fastify/error'
import fastifyStatic from '@fastify/static'
import type { FastifyPluginAsync } from 'fastify'

const PageNotBuilt = createError('CANVAS_ERR_PAGE_NOT_BUILT', 'the page is not built: run "npm run build:page", which "npm start" does by itself', 503)

export interface PageRoutesOptions {
  /** The files that Vite has built. */
  folder: string
}

/** Restricts what the page may load and connect to: only this server. */
const POLICY = 'default-src \'self\'; img-src \'self\' data:; base-uri \'none\'; form-action \'self\'; frame-ancestors \'none\''

/** Serves the page at `/`. */
export const pageRoutes: FastifyPluginAsync<PageRoutesOptions> = async (app, { folder }) => {
  if (!existsSync(join(folder, 'index.html'))) {
    app.get('/', () => { throw new PageNotBuilt() })
    return
  }
  await app.register(fastifyStatic, {
    root: folder,
    // One route per file, so that every other path is this server's own 404.
    wildcard: false,
    cacheControl: false,
    setHeaders (reply, path) {
      reply.headers({
        'content-security-policy': POLICY,
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        // File names change with their content, except for index.html.
        'cache-control': path.endsWith('.html') ? 'no-cache' : 'public, max-age=31536000, immutable'
      })
    }
  })
}
