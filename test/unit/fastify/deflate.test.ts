import { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import type { WebSocketServer } from 'ws'
import { defaults } from '../../../lib/options.js'
import { deflateSettings, Negotiations, offersOnlySmallerWindows } from '../../../lib/fastify/deflate.js'

const settings = deflateSettings(defaults.websocket.perMessageDeflate)!

t.test('the settings for compressing messages once', async (t) => {
  t.strictSame(settings, {
    thresholdBytes: 1024, ceilingBytes: 262_144, windowBits: 10, level: 3, memLevel: 7, chunkSize: 1024
  }, 'as documented')
  t.strictSame(deflateSettings(true), {
    thresholdBytes: 1024, ceilingBytes: 262_144, windowBits: 15, level: -1, memLevel: 8, chunkSize: 16_384
  }, 'otherwise the defaults of ws and zlib')
  t.strictSame(deflateSettings({}), deflateSettings(true))
  t.equal(deflateSettings({ zlibDeflateOptions: { windowBits: 12 } })?.windowBits, 12)
  t.equal(deflateSettings({ serverMaxWindowBits: 11, zlibDeflateOptions: { windowBits: 12 } })?.windowBits, 11, 'the smaller window counts')
  t.equal(deflateSettings({ threshold: 0 })?.thresholdBytes, 0)
  t.equal(deflateSettings({ serverMaxWindowBits: 9 })?.windowBits, 9)
  t.equal(deflateSettings({ serverMaxWindowBits: 8 }), undefined, 'zlib can\'t keep to it')
  t.equal(deflateSettings(false), undefined)
  t.equal(deflateSettings(undefined), undefined)
})

t.test('offers that require a smaller window than the server\'s', async (t) => {
  const offers: Record<string, boolean> = {
    'permessage-deflate; server_max_window_bits=9': true,
    'permessage-deflate; server_max_window_bits="9"': true,
    'permessage-deflate;server_max_window_bits = 9, permessage-deflate; server_max_window_bits=8': true,
    'permessage-deflate; server_max_window_bits=10': false,
    'permessage-deflate; server_max_window_bits=15; client_max_window_bits': false,
    'permessage-deflate; client_max_window_bits=9': false,
    'permessage-deflate; client_max_window_bits': false,
    'permessage-deflate; server_max_window_bits=9, permessage-deflate': false,
    'other; server_max_window_bits=9': false,
    '': false
  }
  for (const [header, expected] of Object.entries(offers)) t.equal(offersOnlySmallerWindows(header, settings), expected, header)
  t.equal(offersOnlySmallerWindows(undefined, settings), false)
})

t.test('clients that can inflate the shared messages', async (t) => {
  const server = new EventEmitter()
  const negotiations = new Negotiations(server as WebSocketServer, settings)
  const inflates = (...headers: string[]): boolean => {
    const request = { headers: { 'sec-websocket-extensions': 'permessage-deflate' } } as unknown as IncomingMessage
    server.emit('headers', ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', ...headers], request)
    return negotiations.inflates(request)
  }
  const extension = 'Sec-WebSocket-Extensions: permessage-deflate'
  t.ok(inflates(`${extension}; server_no_context_takeover; server_max_window_bits=10`))
  t.ok(inflates(`${extension}; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15`))
  t.ok(inflates(`${extension}; server_no_context_takeover`), 'without a window parameter it is the largest')
  t.ok(inflates(`sec-websocket-extensions: permessage-deflate; server_no_context_takeover`), 'header names are case-insensitive')
  t.notOk(inflates(`${extension}; server_no_context_takeover; server_max_window_bits=9`), 'its window is too small')
  t.notOk(inflates(`${extension}; server_max_window_bits=10`), 'it expects the context to be kept')
  t.notOk(inflates(`${extension}; client_no_context_takeover`))
  t.notOk(inflates('Sec-WebSocket-Extensions: x-other; server_no_context_takeover'))
  t.notOk(inflates())
  t.notOk(negotiations.inflates({} as IncomingMessage), 'no request without a response')

  negotiations.stop()
  t.notOk(inflates(`${extension}; server_no_context_takeover`))
  t.equal(server.listenerCount('headers'), 0)
})
