import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { parseSince } from '../../../lib/protocol/positions.js'
import { FakeTransport } from '../../support/fake-transport.js'
import { Reader } from '../../support/reader.js'
import { createServer, type Peer, type TestServer } from '../../support/server.js'
import type { Message } from '../../support/ws-client.js'

const READERS = 3

type Step =
  | { does: 'say', units: number }
  | { does: 'come' | 'drop' | 'stall' | 'read' | 'lose', reader: number, fraction: number }
  | { does: 'forget', reader: number }
  | { does: 'tick' | 'press' | 'stalled' }

interface Tab { reader: Reader, peer: Peer | undefined, hasLost: boolean }

const reader = fc.nat(READERS - 1)
const fraction = fc.constantFrom(0, 0.5, 1)
const say = fc.record({ does: fc.constant('say' as const), units: fc.integer({ min: 1, max: 5 }) })
const calm: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: say },
  { weight: 6, arbitrary: fc.record({ does: fc.constantFrom('come' as const, 'drop' as const, 'stall' as const, 'read' as const, 'lose' as const), reader, fraction }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('forget' as const), reader }) },
  { weight: 2, arbitrary: fc.constant<Step>({ does: 'tick' }) }
)
const step: fc.Arbitrary<Step> = fc.oneof({ weight: 20, arbitrary: calm }, { weight: 1, arbitrary: fc.constant<Step>({ does: 'stalled' }) })
const pressing: fc.Arbitrary<Step> = fc.oneof({ weight: 20, arbitrary: calm }, { weight: 1, arbitrary: fc.constant<Step>({ does: 'press' }) })

/** Characters of every width. A producer splits them anywhere, and may end in the middle of one. */
const text = fc.tuple(fc.string({ unit: fc.constantFrom('a', 'é', '漢', '👋', '\u0000', '"', '👩‍👩‍👧'), minLength: 1, maxLength: 80, size: 'max' }), fc.constantFrom('', '\ud83d', '\udc4b'))
  .map((parts) => parts.join(''))

async function come (server: TestServer, tab: Tab): Promise<void> {
  const transport = new FakeTransport()
  tab.peer = await server.connect({
    sessionId: 's', transport, request: { since: parseSince(tab.reader.since('session:s')), have: new Map(Object.entries(tab.reader.have)) }
  })
  take(tab, transport.texts.map((each) => JSON.parse(each) as Message))
}

function take (tab: Tab, messages: readonly Message[]): void {
  for (const message of messages) tab.reader.take(message)
  if (!tab.reader.gaps.delete('s')) return
  tab.peer?.send({ type: 'subscribe', sessionId: 's', since: tab.reader.since('session:s'), have: tab.reader.have })
}

function drop (tab: Tab, part: number): void {
  const messages = tab.peer!.take()
  for (const message of messages.slice(0, Math.ceil(messages.length * part))) tab.reader.take(message)
  tab.peer!.leave(1006)
  tab.peer = undefined
  tab.reader.view('session:s').replaying = 0
}

/** A producer streams a text while clients connect and disconnect. At the end all are connected. */
async function run (server: TestServer, whole: string, steps: readonly Step[]): Promise<Tab[]> {
  const tabs = Array.from({ length: READERS }, (): Tab => ({ reader: new Reader(), peer: undefined, hasLost: false }))
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  let said = 0
  let chunksReceived = 0
  const tell = async (units: number): Promise<void> => {
    const delta = whole.slice(said, said + units)
    said += units
    if (delta !== '') await job.progress({ chunksReceived: ++chunksReceived, delta })
  }
  for (const each of steps) {
    const tab = 'reader' in each ? tabs[each.reader]! : undefined
    const peer = tab?.peer
    switch (each.does) {
      case 'say': await tell(each.units); break
      case 'tick': server.clock.tick(); break
      case 'press': await server.manager.notifyAIStart('greedy', { prompt: 'x'.repeat(100_000) }); break
      case 'stalled': server.clock.advance(700_000); break
      case 'come': if (tab !== undefined && peer === undefined) await come(server, tab); break
      case 'drop': if (tab !== undefined && peer !== undefined) drop(tab, each.fraction); break
      case 'stall': if (peer !== undefined) Object.assign(peer.transport, { stalled: true, writeAheadBytes: 0 }); break
      case 'read':
        if (tab === undefined || peer === undefined) break
        Object.assign(peer.transport, { stalled: false, writeAheadBytes: 64 * 1024 })
        peer.transport.drain()
        take(tab, peer.take())
        break
      case 'lose':
        // A client that lost the end of a text: the next delta shows it a gap, and it resubscribes.
        tab!.hasLost = true
        for (const held of tab!.reader.texts.values()) held.text = held.text.slice(0, Math.floor(held.text.length * each.fraction))
        break
      case 'forget':
        if (peer === undefined) tab!.reader = new Reader()
    }
  }
  await tell(Infinity)
  await job.complete({ chunks: chunksReceived })
  for (const tab of tabs) {
    if (tab.peer !== undefined && tab.peer.transport.closedWith === undefined) {
      Object.assign(tab.peer.transport, { stalled: false, writeAheadBytes: Infinity })
      tab.peer.transport.drain()
      take(tab, tab.peer.take())
      take(tab, tab.peer.take())
    } else {
      if (tab.peer !== undefined) drop(tab, 1)
      await come(server, tab)
    }
    // A client that lost the very last delta sees no gap, and has to resubscribe.
    if (!tab.hasLost) continue
    tab.peer!.send({ type: 'subscribe', sessionId: 's', have: tab.reader.have })
    take(tab, tab.peer!.take())
  }
  return tabs
}

t.test('every client has the producer\'s text, despite disconnects and losses', async () => {
  await fc.assert(fc.asyncProperty(text, fc.array(step, { maxLength: 60, size: 'max' }), async (whole, steps) => {
    for (const { reader } of await run(createServer(), whole, steps)) {
      assert.equal(reader.text('j'), whole)
      assert.equal(reader.texts.get('j')?.truncated, false)
    }
  }), { numRuns: 300, interruptAfterTimeLimit: 8_000 })
})

t.test('past the limit, clients have the end of the text, and are told if they lack the beginning', async (t) => {
  let truncated = 0
  await fc.assert(fc.asyncProperty(text, fc.array(pressing, { maxLength: 60, size: 'max' }), async (whole, steps) => {
    const server = createServer({ bounds: { maxTextUnits: 16, maxTotalBytes: 100_000 } })
    for (const { reader } of await run(server, whole, steps)) {
      const held = reader.texts.get('j')
      // A client that subscribed after the text was evicted has none of it.
      if (held === undefined) continue
      assert.equal(held.text, whole.slice(held.start, held.start + held.text.length))
      if (held.start + held.text.length < whole.length) assert.equal(held.text, '', 'the text is complete, or marked as truncated')
      assert.equal(held.truncated, held.start > 0)
      if (held.truncated) truncated++
    }
  }), { numRuns: 300, interruptAfterTimeLimit: 8_000 })
  t.ok(truncated > 0, 'it did happen')
})

t.test('a delta never ends in half a character, except the last', async () => {
  await fc.assert(fc.asyncProperty(text, fc.array(step, { maxLength: 30 }), async (whole, steps) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    await run(server, whole, steps)
    const deltas = peer.take().flatMap(({ progress }) => (progress as { delta?: string } | undefined)?.delta ?? [])
    assert.equal(deltas.join(''), whole)
    for (const delta of deltas.slice(0, -1)) assert.doesNotMatch(delta, /[\ud800-\udbff]$/)
  }), { numRuns: 100, interruptAfterTimeLimit: 8_000 })
})
