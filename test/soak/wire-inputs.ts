import { constants, deflateRawSync } from 'node:zlib'
import type { Random } from './random.js'
import { SESSIONS, USERS } from './world.js'

/** The data that one connection sends. */
export interface WireInput {
  /** Description of the data. */
  readonly label: string
  /** Written one after another, each in its own turn of the event loop. */
  readonly parts: readonly Buffer[]
  /** Number of frames, messages and requests in the data. */
  readonly count: number
}

const KINDS = { request: 30, query: 15, frames: 25, messages: 30 } as const

export function wireInput (random: Random): WireInput {
  switch (random.weighted(KINDS)) {
    case 'request': return oddRequest(random)
    case 'query': return oddQuery(random)
    case 'frames': return { ...behindUpgrade(random, () => frame(random)), label: 'frames' }
    case 'messages': return { ...behindUpgrade(random, () => textFrame(random, oddMessage(random))), label: 'messages' }
  }
}

// ---- HTTP requests

const TARGETS = [
  '/ws%', '/ws?%', '/ws?token=%ff', '/%', '//ws', '/ws/', '/WS', '/ws/../ws', '/ws#x', '*', 'http://localhost/ws', 'http://[', '/ws?a=1&a=2',
  '/api/ws/stats', '/api/ws/stats?limit=x', '/missing', '/ws?token[]=1', '/ws?__proto__[x]=1', '/ws?token=ada&sessionId=ada:plain:0', '', '/\u00e4'
]
const METHODS = ['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT', 'CONNECT', 'DELETE', 'TRACE', 'PRI', 'get', 'QUERY', '']
const VERSIONS = ['HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'http/1.1', 'HTTP/1.9', '']
const HEADERS: Readonly<Record<string, readonly string[]>> = {
  'Host': ['localhost', '', 'localhost:1', 'ä', 'a b', '[::1]:80'],
  'Connection': ['Upgrade', 'upgrade, keep-alive', 'close', 'keep-alive', '', 'Upgrade, HTTP2-Settings'],
  'Upgrade': ['websocket', 'WebSocket', 'h2c', 'websocket, h2c', 'TLS/1.0', '', 'websocket\u0001'],
  'Sec-WebSocket-Version': ['13', '8', '0', '-1', '13, 8', 'x', ''],
  'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'short', '', 'dGhlIHNhbXBsZSBub25jZQ', '===', 'x'.repeat(300)],
  'Sec-WebSocket-Protocol': [
    'ai-canvas.v1', 'ai-canvas.token.YWRh', 'ai-canvas.v1, ai-canvas.token.YWRh', 'ai-canvas.v1, ai-canvas.token.', 'ai-canvas.v1,,', 'x, x', ',', '"', 'ai-canvas.token.%%',
    'ai-canvas.v1, ai-canvas.v1', 'ai-canvas.v2'
  ],
  'Sec-WebSocket-Extensions': [
    'permessage-deflate', 'permessage-deflate; server_max_window_bits=8', 'permessage-deflate; server_max_window_bits=99', 'permessage-deflate; client_max_window_bits',
    'permessage-deflate; x=1', ';', 'permessage-deflate,', 'permessage-deflate; server_no_context_takeover; server_no_context_takeover', 'x-webkit-deflate-frame'
  ],
  'Origin': ['http://localhost', 'null', 'https://elsewhere.example', 'x', ''],
  'Authorization': ['Bearer ada', 'Bearer', 'Bearer  ', 'Basic YWRhOg==', 'bearer ben'],
  'Cookie': ['a=b', ';;;', '='],
  'Content-Length': ['0', '5', '-1', '99999999999999', 'x'],
  'Transfer-Encoding': ['chunked', 'gzip', 'chunked, chunked', 'x'],
  'Expect': ['100-continue', 'x'],
  'HTTP2-Settings': ['AAMAAABkAARAAAAAAAIAAAAA']
}
const VALID = ['Host', 'Connection', 'Upgrade', 'Sec-WebSocket-Version', 'Sec-WebSocket-Key']

function oddRequest (random: Random): WireInput {
  const headers = VALID.filter(() => random.chance(0.93)).map((name) => [name, HEADERS[name]![0]!] as [string, string])
  for (let i = random.below(4); i > 0; i--) {
    const name = random.pick(Object.keys(HEADERS))
    const value = random.pick(HEADERS[name]!)
    const at = headers.findIndex(([known]) => known === name)
    if (at === -1 || random.chance(0.3)) headers.push([name, value])
    else headers[at]![1] = value
  }
  const target = random.pick(TARGETS)
  const method = random.chance(0.8) ? 'GET' : random.pick(METHODS)
  const version = random.chance(0.9) ? 'HTTP/1.1' : random.pick(VERSIONS)
  const head = Buffer.from(`${method} ${target} ${version}\r\n${headers.map((header) => `${header.join(': ')}\r\n`).join('')}\r\n`)
  if (random.chance(0.2)) for (let i = random.between(1, 3); i > 0; i--) head[random.below(head.length)] = random.below(256)
  const body = random.chance(0.3) ? random.bytes(random.below(60)) : Buffer.alloc(0)
  return { label: `${method} ${target}`, parts: split(random, Buffer.concat([head, body])), count: 1 }
}

function upgradeRequest (random: Random, target: string): Buffer {
  const extension = random.chance(0.5) ? `Sec-WebSocket-Extensions: ${HEADERS['Sec-WebSocket-Extensions']![0]!}\r\n` : ''
  return Buffer.from(`GET ${target} HTTP/1.1\r\n${VALID.map((name) => `${name}: ${HEADERS[name]![0]!}\r\n`).join('')}${extension}\r\n`)
}

const PARAMETERS = ['token', 'userId', 'sessionId', 'since', 'userSince', 'have', 'attempt', 'x', '__proto__', 'constructor', 'toString']
const VALUES = [
  'ada', 'ada:plain:0', 'all:plain:0', '', '%', '%00', '%F0%9F%98%80', '%ED%A0%80', '%ff', 'x'.repeat(300), 'a:1', 'a:-1', 'a:1e3', ':', 'f77aeb8a.0:7',
  'a:999999999999999', '%7B%22job_1%22%3A3%7D', '%7B', '[]', 'null', '%7B%22a%22%3A-1%7D', '0', '-1', 'NaN', '1e309', '%0d%0aX%3A%201'
]

function oddQuery (random: Random): WireInput {
  const fields = Array.from({ length: random.between(1, 5) }, () => `${random.pick(PARAMETERS)}${random.chance(0.9) ? '=' : ''}${random.pick(VALUES)}`)
  if (random.chance(0.8)) fields.unshift(`token=${random.pick(USERS)}`)
  return { label: `query ${fields.join('&')}`, parts: split(random, upgradeRequest(random, `/ws?${fields.join('&')}`)), count: 1 }
}

// ---- frames

function behindUpgrade (random: Random, make: () => Buffer): Omit<WireInput, 'label'> {
  const target = `/ws?token=${random.pick(USERS)}${random.chance(0.5) ? `&sessionId=${random.pick(SESSIONS)}` : ''}`
  const frames = Array.from({ length: random.between(1, 24) }, make)
  const bytes = Buffer.concat(frames)
  return { parts: [upgradeRequest(random, target), ...split(random, bytes)], count: 1 + frames.length }
}

const TEXT = 0x1
const FIN = 0x80
const DEFLATED = 0x40

/** Returns a frame, masked by default. Its length may be wrong, or in a longer encoding than necessary. */
function encode (random: Random, first: number, payload: Buffer, { masked = true, claimed = payload.length, wide = false } = {}): Buffer {
  const mask = masked ? random.bytes(4) : Buffer.alloc(0)
  const bit = masked ? 0x80 : 0
  let head: Buffer
  if (claimed < 126 && !wide) head = Buffer.from([first, bit | claimed])
  else if (claimed < 65_536) {
    head = Buffer.from([first, bit | 126, 0, 0])
    head.writeUInt16BE(claimed, 2)
  } else {
    head = Buffer.from([first, bit | 127, 0, 0, 0, 0, 0, 0, 0, 0])
    head.writeBigUInt64BE(BigInt(claimed), 2)
  }
  const body = masked ? payload.map((byte, i) => byte ^ mask[i % 4]!) : payload
  return Buffer.concat([head, mask, body])
}

function textFrame (random: Random, text: string): Buffer {
  const payload = Buffer.from(text)
  if (random.chance(0.2)) return encode(random, FIN | DEFLATED | TEXT, deflated(payload))
  return encode(random, FIN | (random.chance(0.97) ? TEXT : 2), payload)
}

function deflated (bytes: Buffer): Buffer {
  return deflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
}

/** A payload that is small on the wire and a mebibyte when it is inflated. */
const BOMB = deflated(Buffer.alloc(1024 * 1024))

function frame (random: Random): Buffer {
  if (random.chance(0.35)) return textFrame(random, oddMessage(random))
  const opcode = random.chance(0.7) ? random.pick([0, 1, 2, 8, 9, 10]) : random.below(16)
  const first = (random.chance(0.75) ? FIN : 0) | (random.chance(0.15) ? 0x10 << random.below(3) : 0) | opcode
  const payload = random.pick([
    () => Buffer.alloc(0), () => random.bytes(random.below(130)), () => Buffer.from(oddMessage(random)), () => Buffer.from([0xc3, 0x28]),
    () => deflated(Buffer.from(oddMessage(random))), () => BOMB, () => closePayload(random)
  ])()
  const claimed = random.chance(0.9) ? payload.length : random.pick([0, 1, 125, 126, 65_535, 65_536, 65_537, 2 ** 32, 2 ** 53, Math.max(0, payload.length - 1), payload.length + 1])
  return encode(random, first, payload, { masked: random.chance(0.93), claimed, wide: random.chance(0.05) })
}

function closePayload (random: Random): Buffer {
  const payload = Buffer.alloc(2 + random.below(20), random.pick(['x', 'ä', '\u00ff']))
  payload.writeUInt16BE(random.pick([0, 999, 1000, 1001, 1005, 1006, 1012, 1015, 2999, 3000, 4000, 4999, 5000, 65_535]))
  return payload
}

/** Splits bytes into a few pieces at random places. */
function split (random: Random, bytes: Buffer): Buffer[] {
  const parts: Buffer[] = []
  let from = 0
  for (let i = random.below(3); i > 0 && from < bytes.length; i--) {
    const to = from + random.below(bytes.length - from)
    parts.push(bytes.subarray(from, to))
    from = to
  }
  return [...parts, bytes.subarray(from)]
}

// ---- messages

const ODD_JSON = [
  'null', 'true', '0', '-0', '1e308', '1e999', '""', '"x"', '[]', '{}', '[[]]', '"\\ud800"', '"\\u0000"', '"__proto__"', '"toString"', '{"toString":1}', '{"__proto__":{"x":1}}',
  '{"constructor":{"prototype":{}}}', '999999999999999999999', '"a:1"', '"f77aeb8a.0:9007199254740993"', '{"job_1":5}', '{"job_1":-5}', '{"job_1":"x"}'
]

function oddValue (random: Random): string {
  if (random.chance(0.02)) return `${'['.repeat(5_000)}${']'.repeat(5_000)}`
  if (random.chance(0.02)) return JSON.stringify('x'.repeat(random.below(60_000)))
  if (random.chance(0.05)) return JSON.stringify(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`job_${i}`, i])))
  return random.pick(ODD_JSON)
}

/** Returns the text of a message in which some fields or characters are replaced by invalid ones. */
function oddMessage (random: Random): string {
  const type = random.pick(['ping', 'subscribe', 'unsubscribe', 'cancel', 'subscribe', 'cancel', 'connection', 'ai_complete', 'dance', '__proto__', ''])
  const fields = new Map<string, string>([['type', JSON.stringify(type)]])
  if (random.chance(0.8)) fields.set('sessionId', JSON.stringify(random.pick([...SESSIONS, 'all:x', '', 'x'.repeat(257)])))
  if (random.chance(0.2)) {
    fields.delete('sessionId')
    const ids = Array.from({ length: random.below(300) }, () => random.pick(SESSIONS))
    fields.set('sessions', JSON.stringify(random.chance(0.5) ? ids : ids.map((sessionId) => ({ sessionId }))))
  }
  for (let i = random.below(3); i > 0; i--) fields.set(random.pick(['type', 'sessionId', 'sessions', 'jobId', 'since', 'have', '__proto__', 'constructor', 'x']), oddValue(random))
  let text = `{${[...fields].map(([name, value]) => `"${name}":${value}`).join(',')}}`
  if (random.chance(0.1)) text = `${text.slice(0, -1)},"type":"ping"}`
  if (random.chance(0.2)) {
    const at = random.below(text.length)
    text = text.slice(0, at) + random.pick(['', '"', '}', '\\', '\u0000', '😀', ',', '{']) + text.slice(at + random.below(3))
  }
  return random.chance(0.05) ? random.pick(ODD_JSON) : text
}
