import { EventEmitter } from 'node:events'
import t from 'tap'
import type { WebSocket } from 'ws'
import { createIntake } from '../../../lib/fastify/intake.js'
import { FakeClock } from '../../support/fake-clock.js'

t.test('an injected connection holds messages until its admission, and survives an invalid frame', (t) => {
  const taken: string[] = []
  let paused = 0
  const ws = Object.assign(new EventEmitter(), { pause: () => { paused++ }, resume: () => undefined }) as unknown as WebSocket
  const recipient = { ws, isClosing: false, take: (data: Buffer) => { taken.push(data.toString()) }, fragmented: () => undefined }
  const intake = createIntake(undefined, recipient, { clock: new FakeClock(), closeTimeoutMs: 1_000 })
  for (let at = 0; at < 8; at++) intake.message(Buffer.from(String(at)), false)
  t.equal(paused, 1)
  intake.failed()
  t.same(taken, [])
  intake.open()
  intake.message(Buffer.from('8'), false)
  t.equal(taken.join(''), '012345678')
  t.end()
})
