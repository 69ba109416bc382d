import t from 'tap'
import { isOriginAllowed, normalizeOrigin } from '../../../lib/routes/origin.js'

const allowed = (origin: string | undefined, host: string, ...origins: string[]): boolean =>
  isOriginAllowed({ headers: { origin }, host }, new Set(origins))

t.test('a request without an origin comes from no browser', async (t) => {
  t.ok(allowed(undefined, 'app.example'))
})

t.test('the server\'s own host may always connect, whatever scheme it sees behind a proxy', async (t) => {
  t.ok(allowed('https://app.example', 'app.example'))
  t.ok(allowed('http://app.example', 'app.example'))
  t.ok(allowed('https://app.example', 'app.example:443'))
  t.ok(allowed('http://app.example', 'app.example:80'))
  t.ok(allowed('http://localhost:3001', 'localhost:3001'))
  t.ok(allowed('https://app.example', 'APP.example'))
  t.ok(allowed('http://[::1]:3001', '[::1]:3001'))
})

t.test('the server\'s own host is the same however a browser or a proxy writes it', async (t) => {
  for (const [origin, host] of [
    ['https://app.example.', 'app.example'], ['https://app.example', 'app.example.'], ['https://app.example.:8443', 'app.example:8443'],
    ['https://app.example', 'app.example.:443'], ['http://[::1]:3001', '[0:0:0:0:0:0:0:1]:3001'], ['https://[2001:db8::1]', '[2001:DB8::1]:443'],
    ['https://xn--bcher-kva.example', 'bücher.example'], ['https://app.example:8443', 'App.Example:08443']
  ] as const) t.ok(allowed(origin, host), `${origin} at ${host}`)
  for (const [origin, host] of [
    ['https://app.example.:8443', 'app.example'], ['https://app.example..', 'app.example'], ['https://app.example.evil', 'app.example.'],
    ['https://[::1]:3001', '[::1]'], ['https://[::2]', '[::1]'], ['https://app.example', '.'], ['https://app.example', 'app.example, app.example']
  ] as const) t.notOk(allowed(origin, host), `${origin} at ${host}`)
})

t.test('another host may not', async (t) => {
  t.notOk(allowed('https://evil.example', 'app.example'))
  t.notOk(allowed('https://app.example.evil.example', 'app.example'))
  t.notOk(allowed('https://sub.app.example', 'app.example'))
  t.notOk(allowed('https://app.example:8443', 'app.example'))
  t.notOk(allowed('http://app.example', 'app.example:443'))
  t.notOk(allowed('http://localhost:5173', 'localhost:3001'))
  t.notOk(allowed('https://evil.example', 'evil.example@app.example'), 'nor one dressed up as another')
})

t.test('nor a page without an origin of its own, whatever host the request names', async (t) => {
  for (const origin of ['null', '', 'file://', 'data:text/html,x', 'about:blank', 'not a url']) {
    for (const host of ['app.example', '', 'null', 'undefined']) t.notOk(allowed(origin, host), `${origin} at ${host}`)
  }
  t.notOk(allowed('https://app.example', ''), 'nor any page at a server without a name')
})

t.test('a listed origin may, and with a star any', async (t) => {
  t.ok(allowed('https://other.example', 'app.example', 'https://other.example'))
  t.notOk(allowed('http://other.example', 'app.example', 'https://other.example'), 'its scheme counts')
  t.notOk(allowed('https://other.example:444', 'app.example', 'https://other.example'), 'and its port')
  t.ok(allowed('null', 'app.example', '*'))
  t.ok(allowed('https://any.example', 'app.example', '*'))
})

t.test('origins are written as browsers write them', async (t) => {
  t.equal(normalizeOrigin('https://App.Example.com:443/path?query'), 'https://app.example.com')
  t.equal(normalizeOrigin('http://localhost:5173'), 'http://localhost:5173')
  t.equal(normalizeOrigin('https://bücher.example'), 'https://xn--bcher-kva.example')
  t.equal(normalizeOrigin('*'), '*')
  t.equal(normalizeOrigin('https://*.Example.com:443/'), 'https://*.example.com')
  t.equal(normalizeOrigin('http://*.localhost:5173'), 'http://*.localhost:5173')
  for (const text of [
    'app.example', 'null', '', 'file:///tmp', 'localhost:5173', '*.example.com', 'https://*', 'https://*.', 'https://*.com', 'https://*example.com',
    'https://app.*.com', 'https://app.*', 'https://*.*.example.com', '*://example.com', 'https://**.example.com', 'https://*.1.2.3.4'
  ]) t.equal(normalizeOrigin(text), undefined, text)
})
