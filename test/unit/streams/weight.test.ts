import t from 'tap'
import { Room, streamOf } from '../../support/room.js'
import { FakeClock } from '../../support/fake-clock.js'
import { Library } from '../../support/library.js'
import { memoryBroker } from '../../support/memory-broker.js'
import { memoryInUse } from '../../support/memory.js'
import { report, text } from '../../../lib/testing/reports.js'

// The byte limit is a promise about memory, so the estimates are compared with the measured memory.

const deflate = { thresholdBytes: 1024, ceilingBytes: 262_144, windowBits: 10, level: 3, memLevel: 7, chunkSize: 1024 }
const letters = 'abcdefghijklmnopqrstuvwxyz'

/** Returns a unique string of a given length in UTF-16 units that compresses badly. */
function some (alphabet: string, units: number): string {
  const signs = Array.from(alphabet)
  const chosen = Array.from({ length: units / signs[0]!.length }, () => signs[Math.floor(Math.random() * signs.length)]!)
  // A flat string, not a rope of single characters.
  return chosen.join('')
}

/** Returns the estimated and the measured memory of messages with these contents, including their frames for recoveries. */
function cost (contents: (n: number) => string, { count = 4_000, inflates = false, deflateFromBytes = Infinity } = {}) {
  const endless = { maxMessages: Infinity, maxBytes: Infinity, maxTotalBytes: Infinity, deflateFromBytes }
  const room = new Room({ broker: memoryBroker(new FakeClock(), endless), deflate })
  const reader = room.enter()
  Object.assign(reader.transport, { inflates })
  void room.join(reader, 's')
  const publish = (n: number): void => {
    const { epoch, seq } = room.broker.publish(streamOf('s'), JSON.stringify({ type: 'note', n, text: contents(n) }), { durable: true })
    // The frame that is kept is the one for a client that missed the message.
    void room.hub.join(reader.subscriber, [{ stream: streamOf('s'), since: { epoch, seq: seq - 1 } }], () => '{}')
    // So that the frame cache keeps no frame either.
    room.clock.tick()
    reader.transport.writes.length = 0
  }
  for (let n = 0; n < 200; n++) publish(n)
  const before = { real: memoryInUse(), counted: room.broker.bytes }
  for (let n = 0; n < count; n++) publish(n)
  const each = { real: (memoryInUse() - before.real) / count, counted: (room.broker.bytes - before.counted) / count }
  return Object.assign(each, { broker: room.broker })
}

t.test('the estimate of a message is never below its measured memory, and not far above it', (t) => {
  const wide = 'wide because of this: € ' + letters.repeat(8_000)
  const kinds: Record<string, (n: number) => string> = {
    'nothing': () => '',
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

t.test('the same holds for a message that is kept in a deflated frame too', (t) => {
  for (const [kind, alphabet] of [['letters', letters], ['ideographs', '漢字仮名交']] as const) {
    const { real, counted } = cost(() => some(alphabet, 2_000), { count: 1_000, inflates: true, deflateFromBytes: deflate.thresholdBytes })
    t.ok(counted >= real, `${kind}: ${Math.round(real)} bytes are counted as ${counted}`)
    t.ok(counted < real * 2, `${kind}: but not as much more`)
  }
  t.end()
})

const HOUR_MS = 60 * 60 * 1000

interface Jobs {
  readonly count?: number
  /** The names of sessions and jobs. */
  readonly id?: (n: number) => string
  /** Whether the messages were trimmed. */
  readonly isSettled?: boolean
  /** Maximum ratio of the estimate to the measured memory. */
  readonly most?: number
  readonly publish: (library: Library, session: string, jobId: string) => void
}

/** A rope of many strings, as a progress is in V8 until its characters are read. */
function progressOf (session: string): string {
  return `{"type":"ai_progress","sessionId":${JSON.stringify(session)},"progress":${JSON.stringify({ note: some(letters, 50) })},"timestamp":"now"}`
}

function end (library: Library, session: string, jobId?: string): void {
  library.publish(session, report('complete', jobId === undefined ? {} : { jobId }), JSON.stringify({ session }))
}

const jobs: Record<string, Jobs> = {
  'an end': { publish: end },
  'an end with its short form beside it': {
    count: 1_000,
    isSettled: true,
    // Its frame is counted, but made only when a client is sent it.
    most: 4,
    publish: (library, session) => {
      const shortForm = (): string => JSON.stringify({ session, note: some(letters, 300) })
      library.publish(session, { ...report('complete'), shortForm }, JSON.stringify({ session, note: some(letters, 6_000) }))
    }
  },
  'an end, after a while': { isSettled: true, publish: end },
  'an end, after a while, with long names': { isSettled: true, id: (n) => some(letters, 250) + String(n), publish: end },
  'an end, after a while, with wide names': { isSettled: true, id: (n) => some('漢字仮名交', 250) + String(n), publish: end },
  'many ends, of jobs named here': { count: 300, isSettled: true, publish: (library, session) => { for (let i = 0; i < 33; i++) end(library, session) } },
  'a progress': { publish: (library, session, jobId) => { library.publish(session, report('progress', { jobId }), progressOf(session)) } },
  'a progress of a job named here': { publish: (library, session) => { library.publish(session, report('progress'), progressOf(session)) } },
  'a progress after another': {
    publish: (library, session, jobId) => { for (let i = 0; i < 2; i++) library.publish(session, report('progress', { jobId }), progressOf(session)) }
  },
  'a progress after another, in signs of three bytes': {
    publish: (library, session, jobId) => { for (let i = 0; i < 2; i++) library.publish(session, report('progress', { jobId }), JSON.stringify({ note: some('漢字仮名交', 300) })) }
  },
  'a progress, with wide names': {
    id: (n) => some('漢字仮名交', 250) + String(n),
    publish: (library, session, jobId) => { library.publish(session, report('progress', { jobId }), '{"type":"ai_progress"}') }
  },
  // A new string with its own characters each time.
  'a text': { count: 400, publish: (library, session) => { for (let i = 0; i < 100; i++) library.publish(session, text(`${i} `.padStart(8))) } }
}

for (const [kind, { count = 4_000, id = (n: number) => `name ${n}`, isSettled = false, most = 2.5, publish }] of Object.entries(jobs)) {
  t.test(`the same holds for a session with ${kind}`, async (t) => {
    const library = new Library({ maxTotalBytes: Infinity, ttlMs: HOUR_MS, endTtlMs: 100 * HOUR_MS })
    const measure = (): { real: number, counted: number } => {
      library.deliveries.length = 0
      if (isSettled) library.clock.advance(2 * HOUR_MS)
      return { real: memoryInUse(), counted: library.broker.bytes }
    }
    for (let n = 0; n < 50; n++) publish(library, id(n), id(n))
    const before = measure()
    for (let n = 0; n < count; n++) publish(library, id(n + 50), id(n))
    const after = measure()
    const [real, counted] = [(after.real - before.real) / count, (after.counted - before.counted) / count]
    t.ok(counted >= real, `${Math.round(real)} bytes are counted as ${Math.round(counted)}`)
    t.ok(counted < real * most, 'but not as much more')
  })
}
