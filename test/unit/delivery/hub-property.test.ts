import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { Publication } from '../../../lib/streams/broker.js'
import { ManualBroker, type PendingJoin } from '../../support/manual-broker.js'
import { Room, streamOf, type Guest } from '../../support/room.js'

const KIB = 1024
const LONGEST_HEADER_BYTES = 10
const GUESTS = 4
const NAMES = ['a', 'b', 'c']

const guest = fc.nat({ max: GUESTS - 1 })
const name = fc.constantFrom(...NAMES)

/** By default fast-check begins with very few steps, too few for a client to fall behind. */
function manyOf<T> (step: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.array(step, { maxLength: 80, size: 'max' })
}

/** The model of one guest: what it must receive. */
interface Expected {
  readonly guest: Guest
  readonly subscriptions: Set<string>
  /** Everything that was sent to it, in order. */
  readonly given: Message[]
  /** Sessions that it left before their replay was complete. */
  readonly cutShort: Set<string>
  /** Bytes of the replays that it was sent. */
  replayedBytes: number
  /** Number of messages before the latest end of a tick. Later ones may be missing after a drop. */
  flushed: number
  ended: 'no' | 'finished' | 'dropped'
}

/** Messages without a job have unique texts, so that duplicates are detected. */
interface Message {
  readonly text: string
  /** Collapse key: a newer progress of the same job replaces it while the client is behind. */
  readonly key?: string
  /** The session whose replay it belongs to. */
  readonly past?: string
  /** Whether the client left that session before it was certainly sent. */
  isOptional?: boolean
}

/** A session's job: its latest progress without text, and its whole text. */
interface ModelJob { readonly body: string, readonly text: string }

/** By session, in the order of their latest progress. */
type ModelJobs = ReadonlyMap<string, Map<string, ModelJob>>

interface Progress { n: number, progress: { delta: string, offset: number }, jobId: string }

const HEAD = '"progress":{'

/** Returns the body of a progress. */
function progressBody (at: number, bytes: number): string {
  return `{"n":${at},"pad":"${'.'.repeat(bytes)}",${HEAD}}}`
}

/** Returns the sent message with the job's text from an offset on, live or as part of the snapshot. */
function progressText ({ body, text }: ModelJob, jobId: string, from: number, isPast = false): string {
  const mark = isPast ? ',"replayed":"snapshot"' : ''
  return `${body.slice(0, -2)}"delta":${JSON.stringify(text.slice(from))},"offset":${from}},"jobId":"${jobId}"${mark}}`
}

/**
 * Assembles each job's text from the received progress, and checks that it has no gap and is the right text. Skips
 * sessions that the client left before their replay was complete.
 */
function stitch (texts: readonly string[], keyOf: (message: Progress) => string, mayLack: (key: string) => boolean): Map<string, string> {
  const held = new Map<string, string>()
  for (const text of texts) {
    if (!text.includes(HEAD)) continue
    const message = JSON.parse(text) as Progress
    const { delta, offset } = message.progress
    const before = held.get(keyOf(message)) ?? ''
    assert.ok(offset <= before.length || mayLack(keyOf(message)), `a gap before ${text}`)
    held.set(keyOf(message), before.slice(0, offset) + delta)
  }
  return held
}

/** Returns whether two messages are equal, apart from the offset of their text. */
function isSame (seen: string, given: string): boolean {
  const at = seen.indexOf(HEAD)
  return at < 0 ? seen === given : given.startsWith(seen.slice(0, at + HEAD.length)) && seen.slice(seen.lastIndexOf('},"')) === given.slice(given.lastIndexOf('},"'))
}

/**
 * Compares what a client received with what it was sent: in order, without duplicates, and each missing message was
 * replaced by newer progress of its job. Compares from the end, so that a progress that was sent twice matches its last copy.
 */
function meets (seen: readonly string[], given: readonly Message[], flushed: number): void {
  const newer = new Set<string>()
  let left = seen.length
  for (let at = given.length - 1; at >= 0; at--) {
    const { text, key, isOptional } = given[at]!
    if (left > 0 && isSame(seen[left - 1]!, text)) {
      left--
      if (key !== undefined) newer.add(key)
    } else if (at < flushed && isOptional !== true) {
      assert.ok(key !== undefined && newer.has(key), `${text.slice(0, 80)} is missing`)
    }
  }
  assert.equal(left, 0, 'nothing is out of order or duplicated')
}

/** The rest of a session's replay is not sent any more. */
function stopPast (expected: Expected, name: string): void {
  const { given, flushed, cutShort } = expected
  cutShort.add(name)
  for (const message of given.slice(0, flushed)) if (message.past === name) message.isOptional = true
  const rest = given.splice(flushed).filter(({ past }) => past !== name)
  given.push(...rest)
}

type Step =
  | { does: 'join' | 'leave', guest: number, name: string }
  | { does: 'publish', name: string, key: string | undefined, bytes: number }
  | { does: 'tell' | 'stall' | 'drain' | 'read', guest: number }
  | { does: 'finish' | 'drop', guest: number }
  | { does: 'tick' }

const bytes = fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.integer({ min: 20 * KIB, max: 60 * KIB }) })
const publish = fc.record({ does: fc.constant('publish' as const), name, key: fc.constantFrom(undefined, 'p', 'q'), bytes })
const steady: Array<fc.WeightedArbitrary<Step>> = [
  { weight: 4, arbitrary: fc.record({ does: fc.constant('join' as const), guest, name }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('leave' as const), guest, name }) },
  { weight: 10, arbitrary: publish },
  { weight: 4, arbitrary: fc.record({ does: fc.constant('tell' as const), guest }) },
  { weight: 4, arbitrary: fc.constant<Step>({ does: 'tick' }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constantFrom('finish' as const, 'drop' as const), guest }) }
]
const stalling: Array<fc.WeightedArbitrary<Step>> = [
  ...steady,
  { weight: 4, arbitrary: fc.record({ does: fc.constantFrom('stall' as const, 'drain' as const, 'read' as const), guest }) }
]

/** Runs the steps in a room and in the model, and returns what each guest must have received. */
function run (
  steps: readonly Step[], room: Room, afterStep: (guests: readonly Expected[]) => void = () => undefined,
  jobs: ModelJobs = new Map(NAMES.map((name) => [name, new Map<string, ModelJob>()]))
): Expected[] {
  const guests = Array.from({ length: GUESTS }, (): Expected => ({
    guest: room.enter(({ subscriber, transport }) => { room.hub.finish(subscriber, () => { transport.close(4000, 'slow') }) }),
    subscriptions: new Set(), cutShort: new Set(), given: [], replayedBytes: 0, flushed: 0, ended: 'no'
  }))
  const live = (expected: Expected): boolean => expected.ended === 'no' && expected.guest.overflows === 0
  const flushed = (): void => {
    for (const expected of guests.filter(live)) expected.flushed = expected.given.length
  }
  steps.forEach((step, at) => {
    const expected = 'guest' in step ? guests[step.guest]! : undefined
    if (expected !== undefined && !live(expected)) return
    switch (step.does) {
      case 'join': {
        const { guest: who, given, subscriptions } = expected!
        const text = `hello ${at}`
        void room.hub.join(who.subscriber, [{ stream: streamOf(step.name) }], () => text)
        given.push({ text })
        // The snapshot: the latest progress of each job, with all of its text.
        for (const [jobId, job] of jobs.get(step.name)!) {
          const state = progressText(job, jobId, 0, true)
          given.push({ text: state, key: `${step.name} ${jobId}`, past: step.name })
          expected!.replayedBytes += state.length + LONGEST_HEADER_BYTES
        }
        subscriptions.add(step.name)
        break
      }
      case 'leave':
        room.leave(expected!.guest, step.name)
        stopPast(expected!, step.name)
        expected!.subscriptions.delete(step.name)
        break
      case 'publish': {
        const subscribers = guests.filter((expected) => live(expected) && expected.subscriptions.has(step.name))
        if (step.key === undefined) {
          const text = `${at} `.padEnd(step.bytes, '.')
          assert.equal(room.publish(step.name, text), subscribers.length)
          for (const { given } of subscribers) given.push({ text })
          break
        }
        const body = progressBody(at, step.bytes)
        const running = jobs.get(step.name)!
        const before = running.get(step.key)?.text ?? ''
        const delta = `${at},`
        const job = { body, text: before + delta }
        running.delete(step.key)
        running.set(step.key, job)
        assert.equal(room.publish(step.name, body, { job: { event: 'progress', jobId: step.key }, delta }), subscribers.length)
        for (const { given } of subscribers) given.push({ text: progressText(job, step.key, before.length), key: `${step.name} ${step.key}` })
        break
      }
      case 'tell':
        room.tell(expected!.guest, `told ${at}`)
        expected!.given.push({ text: `told ${at}` })
        break
      case 'tick':
        room.clock.tick()
        flushed()
        break
      case 'finish':
        room.hub.finish(expected!.guest.subscriber, () => undefined)
        expected!.flushed = expected!.given.length
        expected!.ended = 'finished'
        break
      case 'drop':
        room.hub.drop(expected!.guest.subscriber)
        expected!.ended = 'dropped'
        break
      case 'stall':
        expected!.guest.transport.stalled = true
        break
      case 'drain':
        expected!.guest.transport.drain()
        break
      case 'read':
        expected!.guest.transport.stalled = false
        expected!.guest.transport.drain()
        break
    }
    afterStep(guests)
  })
  room.clock.tick()
  flushed()
  return guests
}

t.test('every client that keeps up gets exactly its messages, in the order of the calls, in one write per tick', (t) => {
  fc.assert(fc.property(manyOf(fc.oneof(...steady)), (steps) => {
    const room = new Room()
    for (const { guest, given, flushed, ended } of run(steps, room)) {
      const { texts, writes } = guest.transport
      assert.deepEqual(texts, given.slice(0, flushed).map(({ text }) => text))
      if (ended !== 'dropped') assert.equal(flushed, given.length)
      const total = given.reduce((sum, { text }) => sum + text.length + 10, 0)
      const ends = steps.filter(({ does }) => does === 'tick' || does === 'finish').length + 1
      assert.ok(total > 64 * KIB || writes.length <= ends)
    }
    assert.equal(room.pool.queuedBytes, 0)
  }), { numRuns: 300 })
  t.end()
})

t.test('a client that stalls gets the same except replaced progress, and every text is complete', (t) => {
  let joined = 0
  fc.assert(fc.property(manyOf(fc.oneof(...stalling)), (steps) => {
    // The limits are high enough that no slow consumer is closed.
    const room = new Room({ maxOutboxBytes: 64 * 1024 * KIB })
    const jobs: ModelJobs = new Map(NAMES.map((name) => [name, new Map<string, ModelJob>()]))
    const guests = run(steps, room, undefined, jobs)
    // The progress does not name its session, but each step has a unique one.
    const sessionOf = new Map(steps.flatMap((step, at) => step.does === 'publish' ? [[at, step.name] as const] : []))
    for (const { guest, given, subscriptions, cutShort, flushed, ended } of guests) {
      const { transport } = guest
      transport.stalled = false
      transport.drain()
      meets(transport.texts, given, ended === 'dropped' ? 0 : flushed)
      const held = stitch(transport.texts, ({ n, jobId }) => `${sessionOf.get(n)!} ${jobId}`,
        (key) => cutShort.has(key.split(' ')[0]!))
      if (ended !== 'no') continue
      for (const name of subscriptions) for (const [jobId, { text }] of jobs.get(name)!) assert.equal(held.get(`${name} ${jobId}`), text)
    }
    joined += room.pool.collapsed
    assert.equal(room.pool.queuedBytes, 0)
  }), { numRuns: 300 })
  t.ok(joined > 0, 'pieces of text were merged')
  t.end()
})

t.test('a slow consumer gets the first messages, and its queue never exceeds the limit and one message', (t) => {
  let slowConsumers = 0
  fc.assert(fc.property(manyOf(fc.oneof(...stalling)), (steps) => {
    const room = new Room({ maxOutboxBytes: 50 * KIB, maxTotalBytes: 90 * KIB })
    const guests = run(steps, room, (guests) => {
      // Replays have their own limits.
      for (const { guest: { subscriber: { outbox } }, replayedBytes } of guests) {
        assert.ok(outbox.queuedBytes <= 161 * KIB + replayedBytes)
        assert.ok(outbox.transport.bufferedBytes <= 128 * KIB)
      }
      assert.ok(room.pool.queuedBytes <= 90 * KIB)
    })
    for (const { guest, given } of guests) {
      if (guest.overflows > 0) {
        slowConsumers++
        assert.equal(guest.transport.closedWith?.code, 4000)
        assert.ok(!guest.subscriber.outbox.isBehind)
      }
      meets(guest.transport.texts, given, 0)
      room.hub.drop(guest.subscriber)
    }
    assert.equal(room.pool.queuedBytes, 0)
    assert.equal(room.pool.slowConsumers, guests.filter(({ guest }) => guest.overflows > 0).length)
    for (const name of NAMES) assert.equal(room.hub.count(streamOf(name)), 0)
  }), { numRuns: 300 })
  t.ok(slowConsumers > 0, 'slow consumers occurred')
  t.end()
})

t.test('with a remote broker, a client gets everything after its result once, in the order of the stream', async (t) => {
  // The node gets a message later than the stream. Results describe the stream at their time and
  // arrive in any order. Between a reply and a leave, the client must get consecutive revisions.
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ does: fc.constant('join' as const), guest, name }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('leave' as const), guest, name }) },
    { weight: 6, arbitrary: fc.record({ does: fc.constant('take' as const), name }) },
    { weight: 6, arbitrary: fc.record({ does: fc.constant('deliver' as const), name }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant('answer' as const), which: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('drop' as const), guest }) },
    { weight: 2, arbitrary: fc.record({ does: fc.constant('tick' as const) }) }
  )
  let entered = 0
  await fc.assert(fc.asyncProperty(manyOf(step), async (steps) => {
    const broker = new ManualBroker()
    const room = new Room({ broker })
    const guests = Array.from({ length: GUESTS }, () => room.enter())
    const logs = new Map(NAMES.map((name): [string, Publication[]] => [name, []]))
    const delivered = new Map(NAMES.map((name) => [name, 0]))
    const waiting: PendingJoin[] = []
    const deliver = (name: string): void => {
      const publication = logs.get(name)![delivered.get(name)!]
      if (publication === undefined) return
      delivered.set(name, publication.revision)
      broker.deliver(streamOf(name), publication)
    }
    // The publications that a result covers are delivered to the node before the result.
    const answer = async (join: PendingJoin): Promise<void> => {
      const name = join.stream.slice('session:'.length)
      const at = logs.get(name)!.length
      while (delivered.get(name)! < at) deliver(name)
      await join.answer({ revision: at, seq: at })
    }
    for (const step of steps) {
      switch (step.does) {
        case 'join': {
          const who = guests[step.guest]!
          void room.join(who, step.name)
          waiting.push(...broker.joins.splice(0))
          break
        }
        case 'leave':
          room.leave(guests[step.guest]!, step.name)
          room.tell(guests[step.guest]!, `left ${step.name}`)
          break
        case 'take': {
          const log = logs.get(step.name)!
          log.push(broker.take(streamOf(step.name), `${step.name} ${log.length + 1}`, { durable: false }))
          break
        }
        case 'deliver':
          deliver(step.name)
          break
        case 'answer':
          for (const join of waiting.splice(step.which % Math.max(1, waiting.length), 1)) await answer(join)
          break
        case 'drop':
          room.hub.drop(guests[step.guest]!.subscriber)
          break
        case 'tick':
          room.clock.tick()
          break
      }
    }
    for (const join of waiting) await answer(join)
    for (const name of NAMES) while (delivered.get(name)! < logs.get(name)!.length) deliver(name)
    room.clock.tick()

    for (const { transport, subscriber } of guests) {
      const next = new Map<string, number>()
      for (const text of transport.texts) {
        const [word, rest] = text.split(' ') as [string, string]
        if (word === 'hello') {
          const [name, at] = rest.split(':') as [string, string]
          // A second join of a subscribed stream only returns its position.
          if (!next.has(name)) next.set(name, Number(at) + 1)
          entered++
        } else if (word === 'left') {
          next.delete(rest)
        } else {
          assert.equal(Number(rest), next.get(word), `${text}, in ${transport.texts.join(', ')}`)
          next.set(word, Number(rest) + 1)
        }
      }
      if (subscriber.outbox.closed) continue
      for (const [name, revision] of next) assert.equal(revision, logs.get(name)!.length + 1, 'it got all messages')
      for (const name of NAMES) assert.equal(next.has(name), subscriber.channels.some(({ stream }) => stream === streamOf(name)))
    }
  }), { numRuns: 200 })
  t.ok(entered > 0)
})
