import t from 'tap'
import { hintFor, isOriginAllowed, normalizeOrigin } from '../../../lib/fastify/origin.js'

const allowed = (origin: string | undefined, host: string, ...origins: string[]): boolean =>
  isOriginAllowed({ headers: { origin }, host }, new Set(origins))

t.test('a request without an origin may connect', async (t) => {
  t.ok(allowed(undefined, 'app.example'))
})

t.test('the server\'s own host may always connect, whatever the scheme behind a proxy', async (t) => {
  t.ok(allowed('https://app.example', 'app.example'))
  t.ok(allowed('http://app.example', 'app.example'))
  t.ok(allowed('https://app.example', 'app.example:443'))
  t.ok(allowed('http://app.example', 'app.example:80'))
  t.ok(allowed('http://localhost:3001', 'localhost:3001'))
  t.ok(allowed('https://app.example', 'APP.example'))
  t.ok(allowed('http://[::1]:3001', '[::1]:3001'))
})

t.test('the server\'s own host is recognized in every spelling of browsers and proxies', async (t) => {
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

t.test('another host may not connect', async (t) => {
  t.notOk(allowed('https://evil.example', 'app.example'))
  t.notOk(allowed('https://app.example.evil.example', 'app.example'))
  t.notOk(allowed('https://sub.app.example', 'app.example'))
  t.notOk(allowed('https://app.example:8443', 'app.example'))
  t.notOk(allowed('http://app.example', 'app.example:443'))
  t.notOk(allowed('http://localhost:5173', 'localhost:3001'))
  t.notOk(allowed('https://evil.example', 'evil.example@app.example'), 'nor a disguised host')
})

t.test('a page with an opaque origin may not connect, whatever the Host header', async (t) => {
  for (const origin of ['null', '', 'file://', 'data:text/html,x', 'about:blank', 'not a url']) {
    for (const host of ['app.example', '', 'null', 'undefined']) t.notOk(allowed(origin, host), `${origin} at ${host}`)
  }
  t.notOk(allowed('https://app.example', ''), 'nor any page if the Host header is empty')
})

t.test('a listed origin may connect, and any origin with *', async (t) => {
  t.ok(allowed('https://other.example', 'app.example', 'https://other.example'))
  t.notOk(allowed('http://other.example', 'app.example', 'https://other.example'), 'the scheme counts')
  t.notOk(allowed('https://other.example:444', 'app.example', 'https://other.example'), 'and the port')
  t.ok(allowed('null', 'app.example', '*'))
  t.ok(allowed('https://any.example', 'app.example', '*'))
})

t.test('origins are normalized to the form of browsers', async (t) => {
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

t.test('the hint for a refused page names the likely mistake of a proxy', async (t) => {
  const hint = (origin: string | undefined, host: string, headers: Record<string, string> = {}): string | undefined =>
    hintFor({ headers: { origin, ...headers }, host })
  const ours = 'https://app.example:8443'
  t.match(hint(ours, 'app.example'), /removed the port.*proxy_set_header Host \$http_host/)
  t.match(hint('https://app.example.:8443', 'app.example'), /removed the port/)
  t.match(hint(ours, 'app.example.'), /removed the port/)
  for (const host of ['127.0.0.1:3001', 'app.example:3001', '', 'backend', 'app.example@backend']) {
    t.match(hint(ours, host), /^if it is a page of this app.*Host \$http_host.*trustProxy.*option `origins`/, host)
  }
  for (const name of ['app.example:8443', 'APP.example:8443', 'app.example:8443, proxy.example', 'cdn.example,app.example:8443']) {
    t.match(hint(ours, 'backend', { 'x-forwarded-host': name }), /X-Forwarded-Host.*trustProxy/, name)
  }
  t.match(hint('https://app.example', 'backend', { 'x-forwarded-host': 'app.example:443' }), /X-Forwarded-Host/)
  t.match(hint(ours, 'app.example', { 'x-forwarded-host': 'app.example' }), /removed the port/)
  for (const forwarded of ['for=192.0.2.1;host="app.example:8443";proto=https', 'for=192.0.2.1, Host="App.example:8443"']) {
    t.match(hint(ours, 'backend', { forwarded }), /Forwarded, which Fastify does not read.*X-Forwarded-Host/, forwarded)
  }
  t.match(hint('https://app.example', 'backend', { forwarded: 'host=app.example' }), /Fastify does not read/)
  for (const forwarded of ['', ';', 'host', 'host=', 'for="host=app.example:8443"', 'host="evil.example"']) {
    t.match(hint(ours, 'backend', { forwarded }), /^if it is a page of this app/, forwarded)
  }
  for (const origin of ['null', '', 'file://', 'not a url', undefined]) {
    t.match(hint(origin, 'app.example'), /the page has no host/, String(origin))
  }
})
