import t from 'tap'
import { Room, streamOf } from '../../support/room.js'
import { FakeClock } from '../../support/fake-clock.js'
import { Library } from '../../support/library.js'
import { memoryBroker } from '../../support/memory-broker.js'
import { memoryInUse } from '../../support/memory.js'
import { report, text } from '../../support/contract-stage.js'

// The ceiling is a promise about memory, so what is counted is held against what memory there is.

const deflate = { thresholdBytes: 1024, ceilingBytes: 262_144, windowBits: 10, level: 3, memLevel: 7, chunkSize: 1024 }
const letters = 'abcdefghijklmnopqrstuvwxyz'

/** So many UTF-16 units that no other call answers, and that a deflater makes little of. */
function some (alphabet: string, units: number): string {
  const signs = Array.from(alphabet)
  let made = ''
  while (made.length < units) made += signs[Math.floor(Math.random() * signs.length)]!
  return made
}

/** What messages with these contents are counted as, and what they take: each as text, and in the frames that were made for its readers. */
function cost (contents: (n: number) => string, { count = 4_000, inflates = false, deflateFromBytes = Infinity } = {}) {
  const endless = { maxMessages: Infinity, maxBytes: Infinity, maxTotalBytes: Infinity, deflateFromBytes }
  const room = new Room({ broker: memoryBroker(new FakeClock(), endless), deflate })
  const reader = room.enter()
  Object.assign(reader.transport, { inflates })
  void room.join(reader, 's')
  const publish = (n: number): void => {
    room.broker.publish(streamOf('s'), JSON.stringify({ type: 'note', n, text: contents(n) }), { durable: true })
    // So that none is kept for this reader's sake.
    room.clock.tick()
    reader.transport.writes.length = 0
  }
  for (let n = 0; n < 200; n++) publish(n)
  const before = { real: memoryInUse(), counted: room.broker.bytes }
  for (let n = 0; n < count; n++) publish(n)
  const each = { real: (memoryInUse() - before.real) / count, counted: (room.broker.bytes - before.counted) / count }
  return Object.assign(each, { broker: room.broker })
}

t.test('a message is never counted as less than it takes, and not as much more', (t) => {
  const wide = 'wide because of this: € ' + letters.repeat(8_000)
  const kinds: Record<string, (n: number) => string> = {
    'a few letters': () => some(letters, 20),
    'letters': () => some(letters, 300),
    'letters with accents': () => some(`${letters}äöüéèß`, 300),
    'letters and one emoji': () => some(letters, 300) + '👋',
    'letters cut out of a text with other signs': (n) => wide.slice(30 + n, 330 + n),
    'emoji': () => some('👋🎉🚀', 300),
    'ideographs': () => some('漢字仮名交', 300)
  }
  for (const [kind, contents] of Object.entries(kinds)) {
    const { real, counted } = cost(contents)
    t.ok(counted >= real, `${kind}: ${Math.round(real)} bytes are counted as ${counted}`)
    t.ok(counted < real * 1.6, `${kind}: but not as much more`)
  }
  t.end()
})

t.test('nor one that is kept deflated, too', (t) => {
  for (const [kind, alphabet] of [['letters', letters], ['ideographs', '漢字仮名交']] as const) {
    const { real, counted } = cost(() => some(alphabet, 2_000), { count: 1_000, inflates: true, deflateFromBytes: deflate.thresholdBytes })
    t.ok(counted >= real, `${kind}: ${Math.round(real)} bytes are counted as ${counted}`)
    t.ok(counted < real * 2, `${kind}: but not as much more`)
  }
  t.end()
})

t.test('nor a session with a job', (t) => {
  const kinds: Record<string, { count: number, publish: (library: Library, name: string, n: number) => void }> = {
    end: { count: 4_000, publish: (library, name, n) => { library.publish(name, report('complete'), `{"end":${n}}`) } },
    // Put together of many strings, as they are when nobody asks for their characters.
    progress: {
      count: 4_000,
      publish: (library, name, n) => {
        const progress = JSON.stringify({ chunksReceived: n, note: some(letters, 50) })
        library.publish(name, report('progress'), `{"type":"ai_progress","sessionId":${JSON.stringify(name)},"progress":${progress},"timestamp":"${n}"}`)
      }
    },
    // Made of characters of its own each time.
    text: { count: 400, publish: (library, name) => { for (let i = 0; i < 100; i++) library.publish(name, text(`${i} `.padStart(8))) } }
  }
  for (const [kind, { count, publish }] of Object.entries(kinds)) {
    const { real, counted } = costOfJobs(count, publish)
    t.ok(counted >= real, `${kind}: ${Math.round(real)} bytes are counted as ${counted}`)
    t.ok(counted < real * 2, `${kind}: but not as much more`)
  }
  t.end()
})

/** What each of so many sessions is counted as, and what it takes. */
function costOfJobs (count: number, publish: (library: Library, name: string, n: number) => void): { real: number, counted: number } {
  const library = new Library({ maxTotalBytes: Infinity })
  const publishTo = (n: number): void => {
    publish(library, `session ${n}`, n)
    library.node.deliveries.length = 0
  }
  for (let n = 0; n < 50; n++) publishTo(n)
  const before = { real: memoryInUse(), counted: library.broker.bytes }
  for (let n = 0; n < count; n++) publishTo(n + 50)
  return { real: (memoryInUse() - before.real) / count, counted: (library.broker.bytes - before.counted) / count }
}
