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

/** By itself fast-check would begin with a handful of steps, and a reader needs some to fall behind. */
function manyOf<T> (step: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.array(step, { maxLength: 80, size: 'max' })
}

/** What a guest must see, and what the model knows of it. */
interface Expected {
  readonly guest: Guest
  readonly subscriptions: Set<string>
  /** Everything that it was given, in order. */
  readonly given: Message[]
  /** Sessions that it left before it had been sent their past. */
  readonly cutShort: Set<string>
  /** Bytes of what it was sent of the past. */
  replayedBytes: number
  /** How much of it was given before the latest end of a tick: what comes later may be missing when it is dropped. */
  flushed: number
  ended: 'no' | 'finished' | 'dropped'
}

/** Texts of what belongs to no job are unique, so that one that comes twice shows. */
interface Message {
  readonly text: string
  /** Which progress takes its place while the reader is behind: that of the same job of the same session. */
  readonly key?: string
  /** The session of which it is the past. */
  readonly past?: string
  /** Whether the reader left that session before it may have been sent. */
  isOptional?: boolean
}

/** A session's job: its latest progress, without its piece of text, and its whole text. */
interface ModelJob { readonly body: string, readonly text: string }

/** By session, in the order of their latest progress. */
type ModelJobs = ReadonlyMap<string, Map<string, ModelJob>>

interface Progress { n: number, progress: { delta: string, offset: number }, jobId: string }

const HEAD = '"progress":{'

/** A progress's body, and where its text goes. */
function progressBody (at: number, bytes: number): { body: string, textAt: number } {
  const body = `{"n":${at},"pad":"${'.'.repeat(bytes)}",${HEAD}}}`
  return { body, textAt: body.length - 2 }
}

/** The same as it goes out, with the job's text from some place on, live or as part of the present state. */
function progressText ({ body, text }: ModelJob, jobId: string, from: number, isPast = false): string {
  const mark = isPast ? ',"replayed":"snapshot"' : ''
  return `${body.slice(0, -2)}"delta":${JSON.stringify(text.slice(from))},"offset":${from}},"jobId":"${jobId}"${mark}}`
}

/**
 * What the reader holds of each job's text, by stitching its progress together: never a gap, never another text. Of a
 * session that it left before it had been sent its past it holds nothing for sure.
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

/** Whether they are the same message, wherever its piece of text begins. */
function isSame (seen: string, given: string): boolean {
  const at = seen.indexOf(HEAD)
  return at < 0 ? seen === given : given.startsWith(seen.slice(0, at + HEAD.length)) && seen.slice(seen.lastIndexOf('},"')) === given.slice(given.lastIndexOf('},"'))
}

/**
 * Holds what a reader saw against what it was given: in order, nothing twice, and what is missing was replaced by newer
 * progress of its job. The latest comes first, so that a progress that was given again is found where it was given last.
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
  assert.equal(left, 0, 'nothing is out of order, and nothing comes twice')
}

/** What is left of a session's past is not sent any more. */
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

/** Runs the steps in a room and beside it in the model, and answers what each guest must have seen. */
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
        // The present state: of each job the latest progress, with all of its text.
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
        const { body, textAt } = progressBody(at, step.bytes)
        const running = jobs.get(step.name)!
        const before = running.get(step.key)?.text ?? ''
        const delta = `${at},`
        const job = { body, text: before + delta }
        running.delete(step.key)
        running.set(step.key, job)
        assert.equal(room.publish(step.name, body, { job: { event: 'progress', jobId: step.key }, textAt, delta }), subscribers.length)
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

t.test('every reader that keeps up sees exactly what the calls gave it, in their order, in one write a tick', (t) => {
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

t.test('a reader that stalls sees the same, but for progress that newer progress replaced, and has every text whole', (t) => {
  let joined = 0
  fc.assert(fc.property(manyOf(fc.oneof(...stalling)), (steps) => {
    // No slow consumer is closed here.
    const room = new Room({ maxOutboxBytes: 64 * 1024 * KIB })
    const jobs: ModelJobs = new Map(NAMES.map((name) => [name, new Map<string, ModelJob>()]))
    const guests = run(steps, room, undefined, jobs)
    // What a job's progress says of itself does not name its session, but no two are of the same step.
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
  t.ok(joined > 0, 'pieces of text were joined')
  t.end()
})

t.test('a reader that is too slow sees the beginning, and no more waits for it than the bound and one message', (t) => {
  let slowConsumers = 0
  fc.assert(fc.property(manyOf(fc.oneof(...stalling)), (steps) => {
    const room = new Room({ maxOutboxBytes: 50 * KIB, maxTotalBytes: 90 * KIB })
    const guests = run(steps, room, (guests) => {
      // What is sent of the past has bounds of its own.
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
  t.ok(slowConsumers > 0, 'it did happen')
  t.end()
})

t.test('with a broker far away, a reader sees everything from its answer on, once, in the order of the stream', async (t) => {
  // The stream takes messages in, and the node has them later; answers are given for what the stream has by then and
  // come in any order. What a reader sees between a greeting and its leave must be an unbroken row of revisions.
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
    // The node learns of a join's point in the stream's order: what that covers is delivered before the answer.
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
          // A second greeting for a stream that is followed says where it is, and changes nothing.
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
      for (const [name, revision] of next) assert.equal(revision, logs.get(name)!.length + 1, 'it saw all there is')
      for (const name of NAMES) assert.equal(next.has(name), subscriber.channels.some(({ stream }) => stream === streamOf(name)))
    }
  }), { numRuns: 200 })
  t.ok(entered > 0)
})
