import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { buildApp } from '../../../examples/canvas/app.js'

async function start (t: Test, page: string): Promise<FastifyInstance> {
  const app = await buildApp({ root: '/nowhere', page })
  t.teardown(() => app.close())
  return app
}

t.test('the page is served at the root, its files with a long cache time, and no other files', async (t) => {
  const folder = t.testdir({
    'secret.txt': 'no',
    page: { 'index.html': '<h1>Canvas</h1>', assets: { 'index-abc.js': 'go()', 'index-abc.css': 'p {}' } }
  })
  const app = await start(t, join(folder, 'page'))
  const page = await app.inject('/')
  t.match(page, { statusCode: 200, body: '<h1>Canvas</h1>' })
  t.match(page.headers, {
    'content-type': /^text\/html/,
    'cache-control': 'no-cache',
    'content-security-policy': /^default-src 'self';/,
    'x-content-type-options': 'nosniff'
  })
  const script = await app.inject('/assets/index-abc.js')
  t.match(script, { statusCode: 200, body: 'go()' })
  t.match(script.headers, { 'content-type': /javascript/, 'cache-control': 'public, max-age=31536000, immutable' })
  t.match((await app.inject('/assets/index-abc.css')).headers, { 'content-type': /^text\/css/ })
  for (const path of ['/secret.txt', '/../secret.txt', '/%2e%2e/secret.txt', '/assets/', '/assets/other.js']) {
    t.equal((await app.inject(path)).statusCode, 404, path)
  }
  t.equal((await app.inject('/api/ws/stats')).statusCode, 200, 'the other routes are not affected')
})

t.test('if the page is not built, the response says how to build it', async (t) => {
  const app = await start(t, join(t.testdir({}), 'page'))
  t.match((await app.inject('/')).json(), { statusCode: 503, code: 'CANVAS_ERR_PAGE_NOT_BUILT', message: /run "npm run build:page"/ })
})
