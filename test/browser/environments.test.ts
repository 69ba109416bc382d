import t from 'tap'
import type * as Client from '../../lib/client/index.js'
import { startApp } from '../support/app.js'
import { launch, noBrowser, openTab } from './support/browser.js'
import { clientScript } from './support/client-script.js'
import { layLine } from './support/line.js'

// Runs the client where browsers run scripts outside a page: in workers, and in frames whose URL has no host.

/** Subscribes to the session that has the place's name, and reports what happens. The client gets no URL and must find it. */
function follow (place: string, report: (text: string) => void): void {
  const { AICanvas } = globalThis as unknown as { AICanvas: typeof Client }
  const client = AICanvas.createClient({ sessionId: place, reconnectInterval: 50 })
  client.on('open', () => { report('open') })
  client.on('note', ({ text }) => { report(String(text)) })
  try {
    client.connect()
  } catch (error) {
    report((error as { code: string }).code)
  }
}

/** How the page creates each place. The script in it calls `report` with texts, which reach the page as messages. */
const places: Readonly<Record<string, (script: string) => string>> = {
  page: (script) => `${script}('page', (text) => { hear('page', text) })`,
  worker: () => 'new Worker("/worker.js").onmessage = ({ data }) => { hear("worker", data) }',
  moduleWorker: () => 'new Worker("/moduleWorker.js", { type: "module" }).onmessage = ({ data }) => { hear("moduleWorker", data) }',
  blobWorker: () => `fetch('/blobWorker.js').then((response) => response.blob()).then((blob) => {
    new Worker(URL.createObjectURL(blob)).onmessage = ({ data }) => { hear('blobWorker', data) }
  })`,
  sharedWorker: () => 'new SharedWorker("/sharedWorker.js").port.onmessage = ({ data }) => { hear("sharedWorker", data) }',
  serviceWorker: () => `navigator.serviceWorker.onmessage = ({ data }) => { hear('serviceWorker', data) }
    navigator.serviceWorker.register('/serviceWorker.js')
    navigator.serviceWorker.ready.then(({ active }) => { active.postMessage('begin') })`,
  srcdocFrame: () => 'frame("srcdocFrame", { srcdoc: code("srcdocFrame", "/") })',
  sandboxedFrame: () => 'frame("sandboxedFrame", { srcdoc: code("sandboxedFrame", "/"), sandbox: "allow-scripts" })',
  blankFrame: () => `{
    const { contentDocument: { body } } = frame('blankFrame', {})
    const script = (fields) => { body.append(Object.assign(body.ownerDocument.createElement('script'), fields)) }
    script({ src: '/client.js', onload () { script({ text: inside('blankFrame') }) } })
  }`,
  dataFrame: () => 'frame("dataFrame", { src: "data:text/html," + encodeURIComponent(code("dataFrame", location.origin + "/")) })'
}

/** Code with which a worker's script reports. A service worker waits for a request of the page. */
const reports: Readonly<Record<string, (call: string) => string>> = {
  sharedWorker: (call) => `onconnect = ({ ports: [port] }) => { ${call}((text) => { port.postMessage(text) }) }`,
  serviceWorker: (call) => `onmessage = ({ source }) => { ${call}((text) => { source.postMessage(text) }) }`
}

const page = (place: string): string => `<!doctype html><title>${place}</title><body><script src="/client.js"></script><script>
  const heard = []
  const hear = (place, text) => { heard.push(text) }
  const inside = (place) => \`(${follow.toString()})('\${place}', (text) => { parent.postMessage(text, '*') })\`
  const code = (place, base) => \`<script src="\${base}client.js"><\\/script><script>\${inside(place)}<\\/script>\`
  const frame = (place, fields) => {
    addEventListener('message', ({ data }) => { hear(place, data) })
    return document.body.appendChild(Object.assign(document.createElement('iframe'), fields))
  }
  ${places[place]!(`(${follow.toString()})`)}
</script>`

t.test('places where a browser runs scripts', { skip: noBrowser }, async (t) => {
  const script = await clientScript()
  const { app: { wsManager }, origin } = await startApp(t, {}, {}, (app) => {
    const serve = (path: string, type: string, text: string): void => { app.get(path, (_request, reply) => reply.type(type).send(text)) }
    serve('/client.js', 'text/javascript', script)
    for (const place of Object.keys(places)) {
      serve(`/${place}`, 'text/html', page(place))
      const call = (report: string): string => `(${follow.toString()})('${place}', ${report})`
      const { [place]: reporting } = reports
      const body = reporting === undefined ? call('(text) => { postMessage(text) }') : reporting(`((report) => { ${call('report')} })`)
      // A module's variables are not global.
      serve(`/${place}.js`, 'text/javascript', `${script}; globalThis.AICanvas = AICanvas; ${body}`)
    }
  })
  const line = await layLine(t, Number(new URL(origin).port))
  const browser = await launch(t)

  for (const place of Object.keys(places).filter((name) => name !== 'dataFrame')) {
    await t.test(`${place}: the client connects to the page's host, and reconnects`, async (t) => {
      const { page } = await openTab(t, browser, `http://127.0.0.1:${line.port}/${place}`)
      await page.waitForFunction('heard.length === 1')
      await wsManager.broadcastToSession(place, { type: 'note', text: 'first' })
      await page.waitForFunction('heard.length === 2')
      line.cut()
      await wsManager.broadcastToSession(place, { type: 'note', text: 'missed' })
      await page.waitForFunction('heard.length === 4')
      t.same(await page.evaluate('heard'), ['open', 'first', 'open', 'missed'])
    })
  }

  await t.test('dataFrame: it has no host, and the error says so', async (t) => {
    const { page } = await openTab(t, browser, `http://127.0.0.1:${line.port}/dataFrame`)
    await page.waitForFunction('heard.length === 1')
    t.same(await page.evaluate('heard'), ['no_url'])
  })
})
