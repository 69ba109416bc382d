import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { chooseSubprotocol, redactDeep, redactToken, redactUrl, SUBPROTOCOL, tokenOf } from '../../../lib/fastify/token.js'

const request = (headers: Record<string, string>, query: object = {}): FastifyRequest => ({ headers, query }) as unknown as FastifyRequest
const offering = (...names: string[]): FastifyRequest => request({ 'sec-websocket-protocol': names.join(', ') })
const encode = (token: string): string => `ai-canvas.token.${Buffer.from(token).toString('base64url')}`

t.test('a token', async (t) => {
  t.test('comes in the subprotocol, with any characters', async (t) => {
    for (const token of ['abc', 'a.b.c', 'with "quotes", commas and spaces', 'ä€🎨', '\0']) {
      t.equal(tokenOf(offering(SUBPROTOCOL, encode(token))), token)
      t.equal(tokenOf(offering(encode(token), SUBPROTOCOL)), token)
    }
    t.equal(tokenOf(request({ 'sec-websocket-protocol': `${SUBPROTOCOL},${encode('abc')}` })), 'abc', 'without spaces too')
    t.equal(tokenOf(offering('ai-canvas.token.!!!')), undefined, 'one that decodes to nothing is absent')
  })

  t.test('comes as a bearer header', async (t) => {
    t.equal(tokenOf(request({ authorization: 'Bearer abc' })), 'abc')
    t.equal(tokenOf(request({ authorization: 'bearer abc' })), 'abc')
    for (const authorization of ['Basic abc', 'Bearer', 'Bearer ', 'abc', '']) t.equal(tokenOf(request({ authorization })), undefined, authorization)
  })

  t.test('comes in the query, as documented', async (t) => {
    t.equal(tokenOf(request({}, { token: 'abc' })), 'abc')
    for (const token of ['', ['a', 'b'], undefined, {}]) t.equal(tokenOf(request({}, { token })), undefined)
  })

  t.test('is absent if none was sent', async (t) => {
    t.equal(tokenOf(request({})), undefined)
    t.equal(tokenOf({ headers: {} } as FastifyRequest), undefined, 'without a query too: an app may log Node\'s own request')
    t.equal(tokenOf(offering(SUBPROTOCOL, 'other')), undefined)
    t.equal(tokenOf(offering('ai-canvas.token.')), undefined, 'an empty one is absent')
  })

  t.test('is searched in that order', async (t) => {
    t.equal(tokenOf(request({ 'sec-websocket-protocol': encode('first'), authorization: 'Bearer second' }, { token: 'third' })), 'first')
    t.equal(tokenOf(request({ authorization: 'Bearer second' }, { token: 'third' })), 'second')
    t.equal(tokenOf(request({ 'sec-websocket-protocol': 'ai-canvas.token.', authorization: 'Bearer second' })), 'second')
  })
})

t.test('the selected subprotocol never carries the token', async (t) => {
  t.equal(chooseSubprotocol(new Set([encode('abc'), SUBPROTOCOL])), SUBPROTOCOL)
  t.equal(chooseSubprotocol(new Set(['other', SUBPROTOCOL])), SUBPROTOCOL)
  t.equal(chooseSubprotocol(new Set([encode('abc'), 'other', 'third'])), 'other')
  t.equal(chooseSubprotocol(new Set([encode('abc')])), false)
  t.equal(chooseSubprotocol(new Set()), false)
})

t.test('a URL for the log', async (t) => {
  const urls: Record<string, string> = {
    '/ws?token=secret': '/ws?token=[redacted]',
    '/ws?sessionId=s&token=secret&userId=u': '/ws?sessionId=s&token=[redacted]&userId=u',
    '/ws?token=secret&token=secret': '/ws?token=[redacted]&token=[redacted]',
    '/ws/?Token=secret#token=secret': '/ws/?Token=[redacted]',
    '/ws?token=sec%26ret': '/ws?token=[redacted]',
    '/ws?t%6fken=secret&%74%4Fken=secret': '/ws?t%6fken=[redacted]&%74%4Fken=[redacted]',
    '/ws;token=secret': '/ws;token=[redacted]',
    '/ws?%E0%A4%A=1&token=secret': '/ws?%E0%A4%A=1&token=[redacted]',
    '/ws?token=': '/ws?token=[redacted]',
    '/ws?mytoken=a&tokens=b&sessionId=token=c': '/ws?mytoken=a&tokens=b&sessionId=token=c',
    '/ws?x#token=secret': '/ws?x#token=[redacted]',
    '/ws?x=1#token=secret&y=2': '/ws?x=1#token=[redacted]&y=2',
    '/ws#token=secret': '/ws#token=[redacted]',
    '/ws?x=1?token=secret': '/ws?x=1?token=[redacted]',
    '/ws?token=se?cr;et#x=y&a=b': '/ws?token=[redacted]&a=b',
    '//ws?token=secret': '//ws?token=[redacted]',
    '/WS?token=secret': '/WS?token=[redacted]',
    '/ws?token[]=secret&token[0]=secret': '/ws?token[]=[redacted]&token[0]=[redacted]',
    '/ws?token%5B%5D=secret&%54oken%5Ba%5D[b]=secret': '/ws?token%5B%5D=[redacted]&%54oken%5Ba%5D[b]=[redacted]',
    '/ws?+token=secret&token%20=secret': '/ws?+token=[redacted]&token%20=[redacted]',
    '?token=secret': '?token=[redacted]',
    'https://user@app.example/ws?token=secret': 'https://user@app.example/ws?token=[redacted]',
    'Route GET:/ws/?token=secret not found': 'Route GET:/ws/?token=[redacted] not found',
    'in the "/ws?a=b&token=secret" (GET) route': 'in the "/ws?a=b&token=[redacted] (GET) route',
    '/ws?a=b&c=d': '/ws?a=b&c=d',
    '/ws?token': '/ws?token',
    '/ws': '/ws'
  }
  for (const [url, shown] of Object.entries(urls)) t.equal(redactUrl(url), shown)
})

t.test('a text for the log', async (t) => {
  t.equal(redactToken('bad token secret: secret', 'secret'), 'bad token [redacted]: [redacted]')
  const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJ1c2VySWQiOiJ1In0.c2lnbmF0dXJl'
  t.equal(redactToken('Unexpected token in "eyJ1c2VySWQiOiJ1In0"', jwt), 'Unexpected token in "[redacted]"', 'a part of it')
  t.equal(redactToken('signature eyJ1c2Vy… of user', jwt), 'signature [redacted]… of user')
  const odd = 'pass"word ä'
  for (const form of [odd, JSON.stringify(odd), encodeURIComponent(odd), Buffer.from(odd).toString('base64url')]) {
    t.notMatch(redactToken(`can't read ${form} here`, odd), /word|cGFzc/, 'in every encoding')
  }
  t.equal(redactToken('half \ud800 of it', '\ud800'), 'half [redacted] of it', 'even what can\'t be written in UTF-8')
})

t.test('anything for the log', async (t) => {
  const shown = redactDeep({
    url: '/ws?token=secret', list: ['secret', 5, null], Authorization: 'Bearer other', TOKEN: 1,
    url2: { toJSON: () => ({ href: 'https://app.example/?token=other' }) }
  }, ['secret'])
  t.strictSame(shown, {
    url: '/ws?token=[redacted]', list: ['[redacted]', 5, null], Authorization: '[redacted]', TOKEN: '[redacted]',
    url2: { href: 'https://app.example/?token=[redacted]' }
  })
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  t.strictSame(redactDeep(cycle, []), { self: { self: { self: { self: { self: '[redacted]' } } } } }, 'cycles are cut off')
})
