import { randomInt } from 'node:crypto'
import type { Joined, JoinOptions, Position, Publication, Published, PublishOptions, Stream } from '../streams/broker.js'
import { MemoryBroker } from '../streams/memory-broker.js'
import type { Transition } from '../streams/session-jobs.js'
import { checkDeliveries } from './delivery-rules.js'
import { holds, same } from './expect.js'
import type { FixtureOptions } from './fixture.js'
import { FuzzCalls, type FuzzCall, type FuzzJob, type FuzzStream } from './fuzz-calls.js'
import { bodyOf, type Received } from './received.js'
import type { EventOf, NodeEvent } from './recording-node.js'
import { Stage, type OpenNode } from './stage.js'

export interface FuzzOptions extends Pick<FixtureOptions, 'create' | 'deadlineMs' | 'unsupported'> {
  /** Number of calls. @default 10_000 */
  readonly calls?: number
  /** Seed of the random calls: a run with the same seed makes the same calls. @default a random one */
  readonly seed?: number
}

export interface FuzzReport {
  readonly seed: number
  readonly calls: number
  /** How many deliveries were compared. */
  readonly deliveries: number
  /** How often each thing happened, by its name, such as `publish`, `recovered` or `dropped gap`. */
  readonly counts: Readonly<Record<string, number>>
}

/** Calls of the node that nothing in the test gives reason to. */
const UNEXPECTED: ReadonlySet<NodeEvent['type']> = new Set(['restarted', 'reseed', 'orphaned', 'disowned', 'revoke', 'cancel'])

type PublishCall = Extract<FuzzCall, { type: 'publish' }>

/** Number of the latest calls of a stream that an error shows. */
const SHOWN_CALLS = 25
/** Messages that a stream may keep. There are few, so that recoveries fail. */
const MAX_MESSAGES = 15
/** Number of subscribers that each node says it has. */
const SUBSCRIBERS = 3

/**
 * Makes the same random calls of the memory broker and of another one, and compares the results and the deliveries after each
 * call. Rejects at the first difference, with an error that names the seed and the latest calls of the stream. Revisions are not
 * compared, because only their order counts.
 */
export async function fuzzBroker ({ calls = 10_000, seed = randomInt(2 ** 32), ...options }: FuzzOptions): Promise<FuzzReport> {
  const [reference, tested] = [new Stage({ create: () => ({ createBroker: () => new MemoryBroker() }) }), new Stage(options)]
  try {
    const limits = tested.unsupported.includes('history.maxMessages') ? {} : { history: { maxMessages: MAX_MESSAGES } }
    const comparison = new Comparison(await reference.open(limits), await tested.open(limits), new FuzzCalls(seed))
    for (let at = 1; at <= calls; at++) await comparison.step(`call ${at} of seed ${seed}`)
    await comparison.finish()
    return { seed, calls, deliveries: comparison.deliveries, counts: comparison.counts }
  } finally {
    await Promise.all([reference.close(), tested.close()])
  }
}

/** What both brokers generate for themselves. The names of the reference are the keys. */
class Names {
  readonly #kind: string
  readonly #actual = new Map<string, string>()
  readonly #expected = new Map<string, string>()

  constructor (kind: string) {
    this.#kind = kind
  }

  /** Returns the tested broker's name for one of the reference. A name that is unknown was chosen by the test. */
  translate (expected: string): string {
    return this.#actual.get(expected) ?? expected
  }

  /** Compares two names. They become a pair if both are new. */
  pair (actual: string | undefined, expected: string | undefined): void {
    if (actual === undefined || expected === undefined) {
      same(actual, expected, this.#kind)
      return
    }
    if (!this.#actual.has(expected) && !this.#expected.has(actual)) {
      this.#actual.set(expected, actual)
      this.#expected.set(actual, expected)
    }
    same(actual, this.#actual.get(expected), `${this.#kind}, the reference's ${expected}`)
    same(expected, this.#expected.get(actual), `the reference's ${this.#kind}, for ${actual}`)
  }
}

/** Makes calls of two brokers and compares what they do. */
class Comparison {
  deliveries = 0
  readonly counts: Record<string, number> = {}
  readonly #reference: OpenNode
  readonly #tested: OpenNode
  readonly #calls: FuzzCalls
  readonly #history = new Map<Stream, string[]>()
  readonly #jobIds = new Map<Stream, Names>()
  readonly #epochs = new Map<Stream, Names>()
  /** The tested broker's first results of the publications with a counter. */
  readonly #first = new Map<number, Published>()
  #expectedEvents = 0
  #actualEvents = 0

  constructor (reference: OpenNode, tested: OpenNode, calls: FuzzCalls) {
    this.#reference = reference
    this.#tested = tested
    this.#calls = calls
    for (const { node } of [reference, tested]) node.subscribers = SUBSCRIBERS
  }

  async step (title: string): Promise<void> {
    const call = this.#calls.next()
    const stream = this.#calls.stream(call.stream)
    const history = this.#history.get(call.stream) ?? []
    this.#history.set(call.stream, history)
    history.push(describe(call))
    this.#count(call.type)
    try {
      await this.#compare(call, stream)
      await this.#compareDeliveries(call.stream)
    } catch (error) {
      throw new Error(`The broker differs from the memory broker in ${title}: ${(error as Error).message}\nThe latest calls of ${call.stream} are:\n${
        history.slice(-SHOWN_CALLS).join('\n')}`, { cause: error })
    }
  }

  /** Checks that nothing more was delivered, and that no join had a gap. */
  async finish (): Promise<void> {
    const body = '{"type":"last"}'
    for (const { broker } of [this.#reference, this.#tested]) await broker.publish('all', body, { durable: false })
    await this.#tested.node.until('all', body)
    await this.#compareDeliveries('all')
    checkDeliveries(this.#tested.node.events)
  }

  async #compare (call: FuzzCall, stream: FuzzStream): Promise<void> {
    const [reference, tested] = [this.#reference.broker, this.#tested.broker]
    const { stream: name, type } = call
    const jobIds = this.#namesOf(this.#jobIds, name, 'the job id')
    switch (type) {
      case 'publish': {
        const [expected, actual] = [
          await reference.publish(name, call.body, call.options), await tested.publish(name, call.body, translated(call.options, jobIds))
        ]
        this.#comparePublished(call, stream, actual, expected)
        return
      }
      case 'join': {
        const { since, have = new Map<string, number>() } = call
        const held = new Map([...have].map(([jobId, units]) => [jobIds.translate(jobId), units]))
        const [expected, actual] = [
          await reference.join(name, joinOptions(since?.expected, have)), await tested.join(name, joinOptions(since?.actual, held))
        ]
        this.#compareJoined(stream, actual, expected, have, held)
        return
      }
      case 'leave':
        reference.leave(name)
        tested.leave(name)
        stream.isJoined = false
        // Nothing is kept of a stream that was never published to.
        if (!stream.isPublished) {
          this.#count('leave: never published to')
          stream.positions = []
          this.#epochs.delete(name)
        }
        return
      case 'currentJob':
        jobIds.pair(await tested.currentJob(name), await reference.currentJob(name))
        return
      case 'adopt':
      case 'release':
        this.#compareOwned(stream.jobs.get(call.jobId), type, await tested[type](name, jobIds.translate(call.jobId)), await reference[type](name, call.jobId))
    }
  }

  #compareOwned (job: FuzzJob | undefined, type: 'adopt' | 'release', actual: boolean, expected: boolean): void {
    same(actual, expected, `the result of ${type}`)
    this.#count(`${type}: ${String(actual)}`)
    if (job !== undefined && actual) job.isReleased = type === 'release'
  }

  #comparePublished ({ options: { job: transition, counter }, options, isRepeated = false }: PublishCall, stream: FuzzStream, actual: Published, expected: Published): void {
    const { dropped, repeated = false } = expected
    same(outcomeOf(actual), outcomeOf(expected), 'the result of publish')
    this.#namesOf(this.#jobIds, stream.name, 'the job id').pair(actual.jobId, expected.jobId)
    this.#count(isRepeated ? 'repeated' : repeated ? 'repeated by key' : dropped === undefined ? `published ${transition?.event ?? 'message'}` : `dropped ${dropped}`)
    if (counter !== undefined && isRepeated) same(actual, this.#first.get(counter), 'the result of a publish that was repeated')
    else if (counter !== undefined) this.#first.set(counter, actual)
    if (dropped === undefined) stream.isPublished = true
    // Until it is joined or published to, a stream may have another epoch for each call.
    if (stream.isPublished || stream.isJoined) this.#comparePositions(stream, actual, expected)
    if (isRepeated || repeated) return
    if (dropped !== undefined) same(actual.recipients, 0, 'the recipients of a message that was refused')
    else if (this.#isDelivered(stream.name)) holds(actual.recipients >= SUBSCRIBERS, `publish returned ${actual.recipients} recipients, and this node has ${SUBSCRIBERS}`)
    if (transition !== undefined) this.#noteReport(stream, transition, options, actual, expected)
  }

  /** Updates what is known of the job, and compares the length of its text. */
  #noteReport (stream: FuzzStream, { event, jobId: given, presumed = false }: Transition, { delta, from }: PublishOptions, actual: Published, expected: Published): void {
    const { dropped, jobId = given } = expected
    if (jobId === undefined) return
    if (dropped === 'gap') this.#compareTextEnd(actual, stream.jobs.get(jobId)?.textEnd ?? 0)
    if (dropped !== undefined && dropped !== 'started') return
    const job = stream.job(jobId)
    job.isReleased = false
    if (event === 'complete' || event === 'error') {
      job.isEnded = true
      job.isPresumed = presumed
    }
    if (event !== 'progress') return
    if (delta !== undefined) job.textEnd = Math.max(job.textEnd ?? 0, (from ?? job.textEnd ?? 0) + delta.length)
    if (job.textEnd !== undefined) this.#compareTextEnd(actual, job.textEnd)
  }

  /** The reference does not return it, because it can't lose history. */
  #compareTextEnd ({ textEnd }: Published, expected: number): void {
    if (textEnd !== undefined || this.#tested.broker.canLoseHistory) same(textEnd, expected, 'textEnd')
  }

  #compareJoined (
    stream: FuzzStream, actual: Joined, expected: Joined, have: ReadonlyMap<string, number>, held: ReadonlyMap<string, number>
  ): void {
    const { recovered, reason } = expected
    same({ recovered: actual.recovered, reason: actual.reason, seq: actual.seq }, { recovered, reason, seq: expected.seq }, 'the result of join')
    this.#count(recovered ? 'recovered' : `not recovered: ${String(reason)}`)
    this.#comparePositions(stream, actual, expected)
    const [actualReplay, expectedReplay] = [actual.replay.map(replayed(held)), expected.replay.map(replayed(have))]
    this.#compareMessages(stream.name, actualReplay, expectedReplay, 'the replay')
    stream.isJoined = true
  }

  #comparePositions (stream: FuzzStream, actual: Position, expected: Position): void {
    this.#namesOf(this.#epochs, stream.name, 'the epoch').pair(actual.epoch, expected.epoch)
    stream.positions.push({ actual: positionOf(actual), expected: positionOf(expected) })
  }

  /** Waits until the tested broker has delivered what the reference has delivered, and compares both. */
  async #compareDeliveries (name: Stream): Promise<void> {
    const expected = deliveriesOf(this.#reference, this.#expectedEvents).filter(({ stream }) => this.#isDelivered(stream))
    const { node } = this.#tested
    const actual = await node.waitFor(`the delivery of ${expected.map(({ message }) => message.body).join(' and ')}`, () => {
      const deliveries = deliveriesOf(this.#tested, this.#actualEvents)
      return deliveries.length >= expected.length ? deliveries : undefined
    })
    const others = node.events.slice(this.#actualEvents).filter(({ type }) => UNEXPECTED.has(type))
    same(others, [], 'the calls of the node')
    this.#expectedEvents = this.#reference.node.events.length
    this.#actualEvents = node.events.length
    for (const { message } of expected) if (message.supersedes) this.#count('superseded')
    same(actual.map(({ stream }) => stream), expected.map(({ stream }) => stream), 'the streams of the deliveries')
    this.#compareMessages(name, actual.map(({ message }) => comparable(message)), expected.map(({ message }) => comparable(message)), 'the deliveries')
    this.deliveries += expected.length
  }

  #compareMessages (stream: Stream, actual: readonly Comparable[], expected: readonly Comparable[], what: string): void {
    const jobIds = this.#namesOf(this.#jobIds, stream, 'the job id of a message')
    same(actual.map(withoutJob), expected.map(withoutJob), what)
    for (const [at, { jobId }] of expected.entries()) jobIds.pair(actual[at]?.jobId, jobId)
  }

  #isDelivered (stream: Stream): boolean {
    return stream === 'all' || this.#calls.stream(stream).isJoined
  }

  #count (name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1
  }

  #namesOf (all: Map<Stream, Names>, stream: Stream, kind: string): Names {
    const names = all.get(stream) ?? new Names(kind)
    all.set(stream, names)
    return names
  }
}

/** What a message must be for both brokers. */
type Comparable = Omit<Received, 'revision' | 'whole'>

function comparable ({ body, durable, seq, jobId, supersedes, piece }: Received): Comparable {
  return { body, durable, seq, jobId, supersedes, piece }
}

function withoutJob ({ body, durable, seq, supersedes, piece }: Comparable): object {
  return { body, durable, seq, supersedes, piece }
}

/** Returns a replayed publication with the text that the subscriber lacks. */
function replayed (have: ReadonlyMap<string, number>): (publication: Publication) => Comparable {
  return (publication) => {
    const { durable, seq, jobId, supersedes = false, text } = publication
    const held = have.get(jobId ?? '') ?? 0
    // A subscriber that has more text than there is has another text.
    const piece = text?.source.slice(held <= text.to ? held : 0, text.to)
    return { body: bodyOf(publication), durable, seq, jobId, supersedes, piece }
  }
}

function deliveriesOf ({ node }: OpenNode, from: number): Array<EventOf<'deliver'>> {
  return node.events.slice(from).filter((event) => event.type === 'deliver')
}

function outcomeOf ({ seq, dropped, kept, repeated }: Published): object {
  return { seq, dropped, kept, repeated }
}

function positionOf ({ epoch, seq }: Position): Position {
  return { epoch, seq }
}

function joinOptions (since: Position | undefined, have: ReadonlyMap<string, number>): JoinOptions {
  return { ...(since !== undefined && { since }), ...(have.size > 0 && { have }) }
}

/** Returns the options with the tested broker's job id. */
function translated (options: PublishOptions, jobIds: Names): PublishOptions {
  const { job } = options
  return job?.jobId === undefined ? options : { ...options, job: { ...job, jobId: jobIds.translate(job.jobId) } }
}

function describe (call: FuzzCall): string {
  const shown = call.type === 'join' ? { ...call, have: [...call.have ?? []] } : call
  return JSON.stringify(shown, (name, value: unknown) => name === 'body' && typeof value === 'string' ? value.slice(0, 80) : value)
}
