import t from 'tap'
import { ID, isResolvable, redact, targetUrl } from '../../../lib/client/target.js'
import { isId } from '../../../lib/protocol/ids.js'
import { clientOn, FakePage } from '../../support/fake-page.js'

const nothing = { userId: undefined, sessionId: undefined, since: undefined, have: undefined, userSince: undefined, attempt: 0 }
const page = 'https://app.example/a/chat?x=1#top'

/** The URL of React Native: it has only getters and no `searchParams`. */
class NativeURL {
  readonly #url: string
  constructor (url: string, base?: string) {
    this.#url = base === undefined || /^\w+:/.test(url) ? url : base + url
    if (!this.#url.includes(':')) throw new TypeError('Invalid base URL')
  }

  get href (): string { return this.#url }
  get protocol (): string { return this.#url.slice(0, this.#url.indexOf(':') + 1) }
  get searchParams (): never { throw new Error('not implemented') }
}

/** Runs a function with another global `URL`, or with none. */
function withURL<T> (URL: unknown, callback: () => T): T {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'URL')!
  Object.defineProperty(globalThis, 'URL', { value: URL, configurable: true, writable: true })
  try {
    return callback()
  } finally {
    Object.defineProperty(globalThis, 'URL', before)
  }
}

t.test('the option and the page\'s URL form the target URL', async (t) => {
  for (const [option, expected] of [
    [undefined, 'wss://app.example/ws'],
    ['/live', 'wss://app.example/live'],
    ['live', 'wss://app.example/a/live'],
    ['../live', 'wss://app.example/live'],
    ['?tenant=7', 'wss://app.example/a/chat?tenant=7'],
    ['//other.example/ws', 'wss://other.example/ws'],
    ['http://other.example/ws', 'ws://other.example/ws'],
    ['https://other.example', 'wss://other.example'],
    ['HTTPS://other.example/ws', 'wsS://other.example/ws'],
    ['ws://other.example:8080/ws?tenant=7', 'ws://other.example:8080/ws?tenant=7'],
    ['wss://other.example/ws?', 'wss://other.example/ws'],
    ['wss://other.example/ws#top', 'wss://other.example/ws'],
    ['wss://other.example/ws#a?b=c', 'wss://other.example/ws'],
    ['wss://other.example/ws?a=b?c', 'wss://other.example/ws?a=b?c'],
    ['ws://http.example/https', 'ws://http.example/https']
  ] as const) {
    t.equal(targetUrl(option, page, nothing), expected, String(option))
  }
  t.equal(targetUrl(undefined, 'http://app.example', nothing), 'ws://app.example/ws')
})

t.test('the query is added to the one of the option, and overrides it', async (t) => {
  const query = { ...nothing, userId: 'ä b&c=d', sessionId: 's#1', since: 'e.0:7', have: { j: 3 }, attempt: 2 }
  for (const [option, expected] of [
    ['wss://x.example/ws', ''],
    ['wss://x.example', ''],
    ['wss://x.example/ws?', ''],
    ['wss://x.example/ws?tenant=7', '7'],
    ['wss://x.example/ws?userId=other&tenant=7&attempt', '7'],
    ['wss://x.example/ws?tenant=7#top', '7'],
    ['/ws?tenant=7', '7']
  ] as const) {
    const url = new URL(targetUrl(option, page, query))
    const { tenant = '', ...own } = Object.fromEntries(url.searchParams)
    t.same(own, { userId: 'ä b&c=d', sessionId: 's#1', since: 'e.0:7', have: '{"j":3}', attempt: '2' }, option)
    t.same([tenant, url.hash], [expected, ''], option)
    t.equal(url.searchParams.getAll('userId').length, 1)
  }
})

t.test('an id with a lone surrogate gives a valid URL, as with `URL`', async (t) => {
  const url = targetUrl('ws://x.example/ws', undefined, { ...nothing, sessionId: 'a\ud800b', userId: '😀' })
  t.same(Object.fromEntries(new URL(url).searchParams), { sessionId: 'a\ufffdb', userId: '😀' })
})

t.test('`have` is omitted if the URL would be too long', async (t) => {
  const have = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`job-${i}`, i]))
  t.equal(targetUrl('ws://x.example/ws', undefined, { ...nothing, have }), 'ws://x.example/ws')
})

t.test('an absolute URL needs no global `URL`, and works with React Native\'s', async (t) => {
  for (const URL of [NativeURL, undefined]) {
    const url = withURL(URL, () => targetUrl('https://x.example/ws?tenant=7', undefined, { ...nothing, sessionId: 'a b', attempt: 1 }))
    t.equal(url, 'wss://x.example/ws?tenant=7&sessionId=a%20b&attempt=1')
  }
  withURL(NativeURL, () => {
    t.throws(() => new NativeURL('ws://x').searchParams, 'as in React Native')
    t.equal(targetUrl('/ws', 'http://10.0.2.2', nothing), 'ws://10.0.2.2/ws')
  })
})

t.test('a client connects without a complete `URL`', async (t) => {
  for (const URL of [NativeURL, undefined]) {
    const dialled: string[] = []
    const native = Object.assign(new FakePage(), {
      pageUrl: undefined,
      WebSocket: class {
        onopen = null; onmessage = null; onclose = null; onerror = null
        constructor (url: string) { dialled.push(url) }
        send (): void { /* Not used. */ }
        close (): void { /* Not used. */ }
      }
    })
    const client = withURL(URL, () => {
      const client = clientOn(native, { url: 'https://api.example/ws', userId: 'u', sessionId: 's' })
      client.connect()
      return client
    })
    t.same([client.state, dialled], ['connecting', ['wss://api.example/ws?userId=u&sessionId=s']])
    client.close()
  }
})

t.test('without a page only an absolute URL can be resolved', async (t) => {
  t.same(['/ws', 'ws', '//x.example/ws', undefined, 'ws://x.example', 'https://x.example'].map((option) => isResolvable(option, undefined)),
    [false, false, false, false, true, true])
  t.ok(isResolvable('/ws', page))
  const client = clientOn(Object.assign(new FakePage(), { pageUrl: undefined }), { url: '/ws' })
  t.throws(() => { client.connect() }, { code: 'no_url', message: /"url"/ })
})

t.test('`redact` removes query, fragment and credentials', async (t) => {
  t.equal(redact('wss://x.example:1/ws?token=secret&a=b#secret'), 'wss://x.example:1/ws')
  t.equal(redact('wss://me:secret@x.example/ws'), 'wss://x.example/ws')
  t.equal(redact('SyntaxError: The URL \'foo://me:secret@x/ws?token=secret\' is invalid.'), 'SyntaxError: The URL \'foo://x/ws\' is invalid.')
  t.equal(redact('connect ECONNREFUSED 127.0.0.1:1'), 'connect ECONNREFUSED 127.0.0.1:1')
})

t.test('the client accepts the same ids as the protocol', async (t) => {
  for (const id of ['', 'a', ' ', 'a\nb', '\u0085', '\u007f', '\ud800', 'a\udc00', '🎨'.repeat(256), '🎨'.repeat(257), 'x'.repeat(256), 'x'.repeat(257), 'Zoë']) {
    t.equal(ID.test(id), isId(id), JSON.stringify(id))
  }
})
