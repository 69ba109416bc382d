import t from 'tap'
import { startApp } from '../support/app.js'
import { launchBare } from './support/bare-browser.js'
import { noBrowser } from './support/browser.js'
import { clientScript } from './support/client-script.js'

// Tests a page that a browser restores from the back/forward cache. The page wakes up, and its connections end some
// milliseconds later.

/** Longer than any test, so that a client that waits for its backoff fails. */
const BACKOFF_MS = 600_000

const PAGE = `<!doctype html><title>page</title><p></p><script src="/client.js"></script><script>
  Math.random = () => 0.99
  const happened = []
  const note = (what) => {
    happened.push(what)
    document.querySelector('p').textContent = happened.join()
  }
  addEventListener('pageshow', ({ persisted }) => { if (persisted) note('restored') })
  const client = AICanvas.createClient({ sessionId: 's', reconnectInterval: ${BACKOFF_MS}, maxReconnectIntervalMs: ${BACKOFF_MS} })
  client.on('state', ({ state }) => { note(state) })
  client.on('note', ({ text }) => { note(text) })
  client.connect()
</script>`

t.test('a page that is restored from the back/forward cache reconnects immediately', { skip: noBrowser }, async (t) => {
  const script = await clientScript()
  const { app: { wsManager }, origin } = await startApp(t, {}, {}, (app) => {
    app.get('/client.js', (_request, reply) => reply.type('text/javascript').send(script))
    app.get('/page', (_request, reply) => reply.type('text/html').send(PAGE))
    app.get('/other', (_request, reply) => reply.type('text/html').send('<!doctype html><title>other</title><p>other</p>'))
  })
  const browser = await launchBare(t)
  const tab = await browser.openTab(`${origin.replace('ws', 'http')}/page`)
  const shows = (text: string): Promise<void> => tab.until(`document.querySelector('p')?.textContent.endsWith('${text}')`)
  await shows('connected')
  await wsManager.broadcastToSession('s', { type: 'note', text: 'first' })
  await shows('first')

  for (const text of ['missed', 'missed again']) {
    await tab.go('location.href = "/other"', 'document.title === "other"')
    await wsManager.broadcastToSession('s', { type: 'note', text })
    await tab.go('history.back()', 'document.title === "page"')
    await shows(text)
  }
  const happened = await tab.evaluate('happened') as string[]
  t.equal(happened.filter((what) => what === 'restored').length, 2, 'the browser restored the page from its cache')
  const again = (text: string): string[] => ['waiting', 'connecting', 'connected', text]
  t.same(happened.filter((what) => what !== 'restored'), ['connecting', 'connected', 'first', ...again('missed'), ...again('missed again')])
})
