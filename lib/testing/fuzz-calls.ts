import type { Position, PublicationKey, PublishOptions, Stream } from '../streams/broker.js'
import type { Transition } from '../streams/session-jobs.js'
import { Random } from './random.js'

/** A position, as the reference and the tested broker returned it. */
export interface PositionPair {
  readonly expected: Position
  readonly actual: Position
}

/** A call of both brokers. Its job ids are those of the reference. */
export type FuzzCall = { readonly stream: Stream } & (
  | { readonly type: 'publish', readonly body: string, readonly options: PublishOptions, readonly isRepeated?: boolean }
  | { readonly type: 'join', readonly since?: PositionPair, readonly have?: ReadonlyMap<string, number> }
  | { readonly type: 'leave' | 'currentJob' }
  | { readonly type: 'adopt' | 'release', readonly jobId: string }
)

/** Number of sessions that get calls at the same time. */
const SESSIONS = 3
/**
 * A session is replaced by a new one after so many calls, or so many ended jobs. The contract does not say how many ended jobs a
 * broker remembers.
 */
const MAX_CALLS = 300
const MAX_ENDED = 28
/** Of the newest results, which a broker must remember, these many are requested again. */
const REPEATABLE = 60
/** Job ids that the app chooses. A broker generates the others. */
const JOB_IDS = ['a', 'b', '__proto__', 'é "💡"\\'] as const
/** Pieces of text. A pair of surrogates may be cut into halves, and half of it may have no other half. */
const DELTAS = ['', 'a', 'bc ', '💡', '\ud83d', '\udca1', '\ud83d\ud83d', 'text\ud83d', '\udca1!', '"\\\u0000\u2028é', 'longer '.repeat(9)] as const

/** What is known of a job. */
export interface FuzzJob {
  readonly id: string
  isEnded: boolean
  /** Whether its end was only presumed, so that the real one may follow. */
  isPresumed: boolean
  /** Whether it was released, and no report followed. What a second `release` returns depends on how many nodes there are. */
  isReleased: boolean
  /** Length of the text that the broker has received. Undefined if it has no text. */
  textEnd: number | undefined
}

/** What is known of a stream. */
export class FuzzStream {
  readonly name: Stream
  readonly jobs = new Map<string, FuzzJob>()
  /** Positions that a subscriber may have. */
  positions: PositionPair[] = []
  isJoined = false
  /** Whether it has had a publication. Until then its epoch may change when it is left. */
  isPublished = false
  calls = 0
  /** Number of idempotency keys that were used. */
  keys = 0

  constructor (name: Stream) {
    this.name = name
  }

  get ended (): number {
    return [...this.jobs.values()].filter(({ isEnded }) => isEnded).length
  }

  job (id: string): FuzzJob {
    let job = this.jobs.get(id)
    if (job === undefined) this.jobs.set(id, job = { id, isEnded: false, isPresumed: false, isReleased: false, textEnd: undefined })
    return job
  }
}

type PublishCall = Extract<FuzzCall, { type: 'publish' }>

/** Chooses calls at random. The same seed and the same results lead to the same calls. */
export class FuzzCalls {
  readonly #random: Random
  readonly #streams = new Map<Stream, FuzzStream>()
  /** Streams to leave, because others have replaced them. */
  readonly #retired: Stream[] = []
  readonly #repeatable: PublishCall[] = []
  #sessions: FuzzStream[] = []
  #user: FuzzStream
  #names = 0
  #counter = 0
  #bodies = 0

  constructor (seed: number) {
    this.#random = new Random(seed)
    this.#user = this.#newStream('user')
    this.#sessions = Array.from({ length: SESSIONS }, () => this.#newStream('session'))
  }

  /** Returns what is known of a stream. */
  stream (name: Stream): FuzzStream {
    const stream = this.#streams.get(name) ?? new FuzzStream(name)
    this.#streams.set(name, stream)
    return stream
  }

  next (): FuzzCall {
    const random = this.#random
    const left = this.#retired.pop()
    if (left !== undefined) return { type: 'leave', stream: left }
    if (random.chance(0.05)) return this.#publish(random.chance(0.3) ? 'all' : this.#user.name, { durable: random.chance(0.6) })
    if (random.chance(0.02)) {
      const repeats = random.maybePick(this.#repeatable)
      if (repeats !== undefined) return { ...repeats, isRepeated: true }
    }
    const stream = random.chance(0.05) ? this.#user : this.#session()
    stream.calls++
    const type = random.weighted({ message: stream === this.#user ? 40 : 8, report: stream === this.#user ? 0 : 60, join: 16, leave: 4, currentJob: 4, adopt: 3, release: 3 })
    switch (type) {
      case 'message': return this.#publish(stream.name, { durable: random.chance(0.6) })
      case 'report': return this.#report(stream)
      case 'join': return this.#join(stream)
      case 'leave': return stream.isJoined ? { type, stream: stream.name } : this.#join(stream)
      case 'currentJob': return { type, stream: stream.name }
      case 'adopt': return { type, stream: stream.name, jobId: this.#jobId(stream) }
      case 'release': {
        const jobId = this.#jobId(stream)
        return { type: stream.jobs.get(jobId)?.isReleased === true ? 'adopt' : type, stream: stream.name, jobId }
      }
    }
  }

  #newStream (kind: 'session' | 'user'): FuzzStream {
    return this.stream(`${kind}:${this.#names++}`)
  }

  /** Returns one of the sessions. Replaces it first if enough has happened in it. */
  #session (): FuzzStream {
    const at = this.#random.below(SESSIONS)
    const session = this.#sessions[at]
    if (session !== undefined && session.calls < MAX_CALLS && session.ended < MAX_ENDED) return session
    if (session?.isJoined === true) this.#retired.push(session.name)
    return this.#sessions[at] = this.#newStream('session')
  }

  /** Returns the id of a job: usually of one that runs, at times of one that has ended or does not exist. */
  #jobId (stream: FuzzStream): string {
    const random = this.#random
    const known = [...stream.jobs.values()].filter(({ isEnded, isPresumed }) => !isEnded || random.chance(isPresumed ? 0.5 : 0.1))
    const job = random.maybePick(known.slice(-4))
    if (job !== undefined && random.chance(0.85)) return job.id
    return random.chance(0.3) ? random.pick(JOB_IDS) : `job ${++this.#names}`
  }

  #publish (stream: Stream, options: PublishOptions): PublishCall {
    const random = this.#random
    const ballast = random.pick(['', 'é💡', '\u2028 \u0000 "}', 'x'.repeat(random.below(300)), random.chance(0.1) ? 'y'.repeat(5_000) : ''])
    const body = JSON.stringify({ type: 'note', n: ++this.#bodies, ballast, progress: {} })
    const counter = random.chance(0.2) ? { counter: ++this.#counter } : {}
    const key = random.chance(0.1) ? { key: this.#key(stream) } : {}
    const call: PublishCall = { type: 'publish', stream, body, options: { ...options, ...counter, ...key } }
    if (call.options.counter !== undefined) {
      this.#repeatable.push(call)
      if (this.#repeatable.length > REPEATABLE) this.#repeatable.shift()
    }
    return call
  }

  /** Returns an idempotency key that is new, or used by another publication, perhaps for another request. */
  #key (name: Stream): PublicationKey {
    const random = this.#random
    const stream = this.stream(name)
    const isNew = stream.keys === 0 || random.chance(0.6)
    return { id: `key-${isNew ? ++stream.keys : 1 + random.below(stream.keys)}`, request: random.chance(0.8) ? 'request' : 'another-request' }
  }

  #report (stream: FuzzStream): PublishCall {
    const random = this.#random
    // A presumed end without a job is refused only as long as the session has had none.
    const isStray = stream.jobs.size === 0 && random.chance(0.3)
    const event = isStray ? 'error' : random.weighted({ start: 2, progress: 14, complete: 1, error: 1 })
    const jobId = !isStray && random.chance(0.6) ? this.#jobId(stream) : undefined
    const presumed = event === 'error' && (isStray || random.chance(0.7))
    const job: Transition = {
      event,
      jobId,
      chunks: random.chance(0.3) ? random.below(9) : undefined,
      ...(presumed && { presumed }),
      // No node was told this ownership, so it belongs to no job.
      ...(presumed && random.chance(0.1) && { ownership: 'nobody\'s' }),
      ...(jobId !== undefined && random.chance(0.05) && { repeated: true })
    }
    const text = event === 'progress' && random.chance(0.8) ? this.#text(jobId === undefined ? undefined : stream.jobs.get(jobId), jobId) : {}
    return this.#publish(stream.name, { durable: event !== 'progress', job, ...text, shortForm: () => '{"type":"note","truncated":true}' })
  }

  /** Returns a piece of text. If the job is named, its offset may be given, and may be wrong. */
  #text (job: FuzzJob | undefined, jobId: string | undefined): Pick<PublishOptions, 'delta' | 'from' | 'truncated'> {
    const random = this.#random
    const delta = random.pick(DELTAS)
    if (jobId === undefined || random.chance(0.5)) return { delta }
    const end = job?.textEnd ?? 0
    switch (random.weighted({ exact: 6, overlap: 3, gap: 2, lost: 1 })) {
      case 'exact': return { delta, from: end }
      case 'overlap': return { delta, from: Math.max(0, end - random.below(5)) }
      case 'gap': return { delta, from: end + 1 + random.below(4) }
      case 'lost': return { delta, from: end + random.below(4), truncated: true }
    }
  }

  #join (stream: FuzzStream): FuzzCall {
    const random = this.#random
    const since = random.chance(0.7) ? this.#since(stream) : undefined
    const have = new Map<string, number>()
    for (const { id, textEnd = 0 } of stream.jobs.values()) if (random.chance(0.2)) have.set(id, random.below(textEnd + 3))
    return { type: 'join', stream: stream.name, ...(since !== undefined && { since }), ...(have.size > 0 && { have }) }
  }

  /** Returns a position in a stream: usually one that a broker has returned. */
  #since (stream: FuzzStream): PositionPair | undefined {
    const random = this.#random
    const pair = random.chance(0.5) ? stream.positions.at(-1 - random.below(4)) : random.maybePick(stream.positions)
    if (pair === undefined || random.chance(0.9)) return pair
    const more = random.below(6)
    if (random.chance(0.5)) return { expected: { ...pair.expected, seq: pair.expected.seq + more }, actual: { ...pair.actual, seq: pair.actual.seq + more } }
    const unknown = { epoch: 'unknown', seq: more }
    return { expected: unknown, actual: unknown }
  }
}
