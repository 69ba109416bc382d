import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { addressOf, withholdCredentials } from '../../../lib/fastify/credentials.js'

t.test('a browser\'s automatic credentials are removed from every view of the headers', async (t) => {
  const raw = {
    headers: { host: 'a', cookie: 'x', authorization: 'x', 'proxy-authorization': 'x' },
    headersDistinct: { host: ['a'], cookie: ['x'], authorization: ['x'], 'proxy-authorization': ['x'] },
    rawHeaders: ['Cookie', 'x', 'Host', 'a', 'COOKIE', 'x', 'Authorization', 'x', 'cookie', 'x', 'proxy-Authorization', 'x']
  } as unknown as IncomingMessage
  for (let times = 0; times < 2; times++) {
    withholdCredentials(raw)
    t.strictSame(raw, { headers: { host: 'a' }, headersDistinct: { host: ['a'] }, rawHeaders: ['Host', 'a'] })
  }
})

t.test('works for a request without some of these views', async (t) => {
  const raw = { headers: { cookie: 'x' } } as unknown as IncomingMessage
  withholdCredentials(raw)
  t.strictSame(raw, { headers: {} })
  const none = {} as unknown as IncomingMessage
  withholdCredentials(none)
  t.strictSame(none, {})
})

t.test('without Fastify\'s request class, the host is the Host header', async (t) => {
  const apps = [{}, { [Symbol('fastify.Request')]: 'something else' }]
  for (const app of apps) {
    t.match(addressOf(app, { headers: { host: 'app.example', origin: 'x' } } as unknown as IncomingMessage), { host: 'app.example', headers: { origin: 'x' } })
    t.match(addressOf(app, { headers: {} } as unknown as IncomingMessage), { host: '' })
  }
})
