import t from 'tap'
import { CLOSE, FrameScanner } from '../../../lib/fastify/frame-scanner.js'
import { BINARY, clientFrame, CONTINUATION, FIN, PING, TEXT } from '../../support/client-frames.js'

interface Found { opcode: number, endsMessage: boolean, bytes: number }

/** Returns the frames that the scanner finds in chunks of bytes. */
function scan (pieces: readonly Buffer[]): Found[] {
  const scanner = new FrameScanner()
  const found: Found[] = []
  for (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      at = scanner.take(piece, at)
      if (scanner.isAtEnd) found.push({ opcode: scanner.opcode, endsMessage: scanner.endsMessage, bytes: scanner.frameBytes })
    }
  }
  return found
}

const frames: Array<[bytes: Buffer, opcode: number, endsMessage: boolean]> = [
  [clientFrame(FIN | TEXT, 'short'), TEXT, true],
  [clientFrame(FIN | TEXT), TEXT, true],
  [clientFrame(FIN | 0x40 | TEXT, 'x'.repeat(125)), TEXT, true],
  [clientFrame(TEXT, 'x'.repeat(126)), TEXT, false],
  [clientFrame(FIN | PING, 'in between'), PING, false],
  [clientFrame(CONTINUATION, 'x'.repeat(65_535)), CONTINUATION, false],
  [clientFrame(FIN | CONTINUATION, 'x'.repeat(65_536)), CONTINUATION, true],
  [clientFrame(FIN | BINARY, 'not masked', { masked: false }), BINARY, true],
  [clientFrame(FIN | BINARY, 'x'.repeat(300), { masked: false }), BINARY, true],
  [clientFrame(FIN | CLOSE), CLOSE, false],
  [clientFrame(FIN | 0x3, 'reserved'), 3, false]
]
const expected = frames.map(([bytes, opcode, endsMessage]) => ({ opcode, endsMessage, bytes: bytes.length }))
const all = Buffer.concat(frames.map(([bytes]) => bytes))

t.test('frames are found, however the network splits them', async (t) => {
  t.same(scan([all]), expected)
  for (const size of [1, 2, 3, 7, 13, 14, 127, 4_096, 65_537]) {
    const pieces = Array.from({ length: Math.ceil(all.length / size) }, (_, at) => all.subarray(at * size, (at + 1) * size))
    t.same(scan(pieces), expected, `in pieces of ${size}`)
  }
})

t.test('a frame of any announced length is awaited', async (t) => {
  const scanner = new FrameScanner()
  const header = Buffer.concat([clientFrame(FIN | TEXT, '', { length: 2 ** 40 })])
  t.equal(scanner.take(header, 0), header.length)
  t.equal(scanner.isAtEnd, false)
  t.equal(scanner.take(Buffer.alloc(1_000), 0), 1_000)
  t.equal(scanner.isAtEnd, false)
})

t.test('the opcode is known after the first byte', async (t) => {
  const scanner = new FrameScanner()
  t.equal(scanner.isAtEnd, true)
  scanner.take(clientFrame(FIN | CLOSE, '12').subarray(0, 1), 0)
  t.equal(scanner.opcode, CLOSE)
  t.equal(scanner.isAtEnd, false)
})
