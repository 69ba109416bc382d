import t from 'tap'
import { FRAGMENT_BYTES } from '../../../lib/delivery/frame.js'
import { Pings } from '../../../lib/delivery/pings.js'
import { FakeTransport } from '../../support/fake-transport.js'

function makePings (): { pings: Pings, transport: FakeTransport } {
  const transport = new FakeTransport()
  return { pings: new Pings(transport), transport }
}

t.test('a probe follows a certain number of bytes, fewer while the client is behind', (t) => {
  for (const [isBehind, writes] of [[false, 8], [true, 1]] as const) {
    const { pings, transport } = makePings()
    for (let n = 0; n < 3 * writes; n++) pings.probe(FRAGMENT_BYTES / 2, isBehind)
    t.equal(transport.pings.length, 3)
    t.equal(new Set(transport.pings.map(String)).size, 3, 'each with a payload of its own')
  }
  t.end()
})

t.test('a pong with the payload of a probe proves a read, once', (t) => {
  const { pings, transport } = makePings()
  const payload = Buffer.from('known')
  t.equal(pings.handlePong(payload), 'unsolicited')
  pings.send(payload)
  pings.probe(FRAGMENT_BYTES, true)
  t.equal(pings.handlePong(transport.pings[1]!), 'read')
  t.equal(pings.handlePong(transport.pings[1]!), 'alive', 'it may be the late answer to the ping')
  t.equal(pings.handlePong(payload), 'unsolicited')
  t.end()
})

t.test('a pong answers the probes before it too, and only the latest 64 are remembered', (t) => {
  const { pings, transport } = makePings()
  for (let n = 0; n < 70; n++) pings.probe(FRAGMENT_BYTES, true)
  const meanings = [5, 6, 8, 7, 69].map((index) => pings.handlePong(transport.pings[index]!))
  t.strictSame(meanings, ['alive', 'read', 'read', 'alive', 'read'])
  t.end()
})
