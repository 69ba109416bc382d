import type { Writable } from 'node:stream'
import * as ws from 'ws'
import t from 'tap'
import { stopAfterInvalidFrame } from '../../../lib/fastify/receiver.js'

/** Not part of the types of ws. */
const { Receiver } = ws as unknown as { Receiver: new (options: object) => Writable }

/** A frame as a client sends it, with a mask of zeros and ones. */
function frame (opcode: number, payload: Buffer): Buffer {
  const mask = Buffer.from([1, 0, 1, 0])
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, payload.map((byte, at) => byte ^ mask[at % 4]!)])
}

function received (chunks: readonly Buffer[]): { messages: string[], errors: string[], closed: Promise<unknown> } {
  const receiver = new Receiver({ isServer: true })
  stopAfterInvalidFrame({ _receiver: receiver } as unknown as ws.WebSocket)
  const messages: string[] = []
  const errors: string[] = []
  receiver.on('message', (data: Buffer) => { messages.push(data.toString()) })
  receiver.on('error', (error: Error) => { errors.push(error.message) })
  const closed = new Promise((resolve) => { receiver.on('close', resolve) })
  // As after the inflation of a message: all buffered chunks are written at once, one by one.
  receiver.cork()
  for (const chunk of chunks) receiver.write(chunk)
  receiver.uncork()
  return { messages, errors, closed }
}

t.test('messages pass through', async (t) => {
  t.same(received([frame(1, Buffer.from('a')), frame(1, Buffer.from('b'))]).messages, ['a', 'b'])
})

t.test('bytes buffered behind an invalid close frame are not read, and nothing throws', async (t) => {
  const invalidClose = frame(8, Buffer.from([0x57, 0x58, 1, 2, 3, 4]))
  const { messages, errors, closed } = received([frame(1, Buffer.from('a')), invalidClose, frame(1, Buffer.from('a longer message')), frame(1, Buffer.from('b'))])
  await closed
  t.same(messages, ['a'])
  t.same(errors, ['Invalid WebSocket frame: invalid status code 22360'])
})

t.test('a socket without a receiver stays unchanged', async (t) => {
  t.doesNotThrow(() => { stopAfterInvalidFrame({} as ws.WebSocket) })
})
