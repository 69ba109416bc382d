import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { environmentOf, type WakeEvent } from '../../../lib/client/environment.js'

/** A window and a document in one object. */
function fakeGlobals () {
  const navigator = { onLine: true }
  const document = Object.assign(new EventTarget(), { visibilityState: 'hidden' })
  return Object.assign(new EventTarget(), { navigator, document, location: { href: 'https://app.example/' } })
}

t.test('outside a browser there is no page URL, the network counts as online, and there are no events', async (t) => {
  const environment = environmentOf({})
  t.same([environment.pageUrl, environment.WebSocket, environment.isOnline()], [undefined, undefined, true])
  environment.watch(() => { t.fail('never called') })()
})

t.test('the browser\'s events are reported until the listener is removed', async (t) => {
  const globals = fakeGlobals()
  const environment = environmentOf(globals)
  const heard: WakeEvent[] = []
  const stop = environment.watch((event) => { heard.push(event) })
  const change = (visibilityState: string): void => {
    Object.assign(globals.document, { visibilityState })
    globals.document.dispatchEvent(new Event('visibilitychange'))
  }
  globals.dispatchEvent(new Event('offline'))
  globals.dispatchEvent(new Event('online'))
  change('visible')
  change('hidden')
  t.same(heard.splice(0), ['offline', 'online', 'visible'], 'hiding the page is no wake-up')
  const show = (persisted: boolean): void => { globals.dispatchEvent(Object.assign(new Event('pageshow'), { persisted })) }
  show(false)
  t.same(heard, [], 'loading the page is no wake-up')
  show(true)
  globals.document.dispatchEvent(new Event('resume'))
  t.same(heard.splice(0), ['visible', 'visible'], 'a restored page from the back/forward cache is one, and so is a resumed page')
  stop()
  globals.dispatchEvent(new Event('online'))
  globals.document.dispatchEvent(new Event('resume'))
  show(true)
  change('visible')
  t.same(heard, [])
  t.equal(environment.pageUrl, 'https://app.example/')
})

t.test('relative URLs are resolved against the page, or against the creator of a frame or worker', async (t) => {
  const at = (href: string | undefined, baseURI?: string, origin?: string): string | undefined => environmentOf({
    ...href !== undefined && { location: { href } },
    ...baseURI !== undefined && { document: { visibilityState: 'visible', baseURI } },
    ...origin !== undefined && { origin }
  }).pageUrl
  const page = 'https://app.example/chat'
  for (const [name, expected, found] of [
    ['page', page, at(page, 'https://cdn.example/', 'https://app.example')],
    ['worker, shared worker, service worker', `${page}/worker.js`, at(`${page}/worker.js`, undefined, 'https://app.example')],
    ['blob worker', 'https://app.example', at('blob:https://app.example/0-1', undefined, 'https://app.example')],
    ['srcdoc frame', page, at('about:srcdoc', page, 'https://app.example')],
    ['sandboxed srcdoc frame', page, at('about:srcdoc', page, 'null')],
    ['about:blank frame', page, at('about:blank', page, 'https://app.example')],
    ['data: frame', undefined, at('data:text/html,x', 'data:text/html,x', 'null')],
    ['blob worker of a data: frame', undefined, at('blob:null/0-1', undefined, 'null')],
    ['file', undefined, at('file:///index.html', 'file:///index.html', 'null')],
    ['React Native', undefined, at(undefined)]
  ] as const) t.equal(found, expected, name)
})

t.test('only `navigator.onLine === false` counts as offline', async (t) => {
  const globals = fakeGlobals()
  const environment = environmentOf(globals)
  t.ok(environment.isOnline())
  globals.navigator.onLine = false
  t.notOk(environment.isOnline())
})

t.test('its clock and timers are those of the platform', async (t) => {
  const { clock, random } = environmentOf({})
  const before = clock.monotonic()
  await new Promise<void>((resolve) => { clock.after(1, resolve) })
  t.ok(clock.monotonic() > before)
  clock.after(0, () => { t.fail('it was cancelled') }).cancel()
  const never = [2 ** 31, 1e20, Infinity].map((ms) => clock.after(ms, () => { t.fail(`${ms} ms fire immediately`) }))
  await sleep(5)
  for (const timer of never) timer.cancel()
  t.ok(random() < 1)
})

t.test('an error that a listener throws is reported as uncaught', async (t) => {
  const error = new Error('of the app')
  const uncaught = new Promise((resolve) => { process.once('uncaughtException', resolve) })
  environmentOf({}).report(error)
  t.equal(await uncaught, error)
})
