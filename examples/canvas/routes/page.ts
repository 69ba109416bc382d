import { existsSync } from 'node:fs'
import { join } from 'node:path'
import createError from '@fastify/error'
import fastifyStatic from '@fastify/static'
import type { FastifyPluginAsync } from 'fastify'

const PageNotBuilt = createError('CANVAS_ERR_PAGE_NOT_BUILT', 'the page is not built: run "npm run build:page", which "npm start" does by itself', 503)

export interface PageRoutesOptions {
  /** What Vite built. */
  folder: string
}

/** What the page may load and where it may connect: this server, and nothing else. */
const POLICY = 'default-src \'self\'; img-src \'self\' data:; base-uri \'none\'; form-action \'self\'; frame-ancestors \'none\''

/** Serves the page at `/`. */
export const pageRoutes: FastifyPluginAsync<PageRoutesOptions> = async (app, { folder }) => {
  if (!existsSync(join(folder, 'index.html'))) {
    app.get('/', () => { throw new PageNotBuilt() })
    return
  }
  await app.register(fastifyStatic, {
    root: folder,
    // One route a file, so that everything else stays a 404 of this server's own
    wildcard: false,
    cacheControl: false,
    setHeaders (reply, path) {
      reply.headers({
        'content-security-policy': POLICY,
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        // A file's name changes with its content, but for the page's own
        'cache-control': path.endsWith('.html') ? 'no-cache' : 'public, max-age=31536000, immutable'
      })
    }
  })
}
