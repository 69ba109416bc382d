import { randomUUID } from 'node:crypto'
import type { BrokerSettings, HeldTexts, Joined, Position, PublishOptions, RecoveryFailure, Stream } from '../streams/broker.js'
import { PublicationFactory } from '../streams/kept-publication.js'
import { parseFrame } from './frame.js'
import { explained, Functions } from './functions.js'
import { functionName } from './lua/library.js'
import { BUCKETS, type Keys } from './keys.js'
import type { Argument, Link } from './link.js'
import { FixedText } from './local-texts.js'
import { encode, PublishQueue, type StoredResult } from './publish-queue.js'
import { bytes, list, optionalText, text } from './replies.js'
import { SharedCalls } from './shared-calls.js'

/** The most that one message may take, in bytes, as `lib/streams/kept-publication.ts` estimates it. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024
/** The most text that one job may keep, in UTF-16 units: trimming it copies it, which must not block Redis for long. */
const MAX_TEXT_UNITS = 1024 * 1024
/** Lifetime of a stream that was never published to, in milliseconds. Nodes renew it while they follow the stream. */
export const EMPTY_TTL_MS = 600_000
/** Jobs of one bucket that are read at once. */
const MAX_ORPHANS = 100
/** How long a revocation is kept for nodes that are cut off, in milliseconds. */
const LOG_TTL_MS = 86_400_000

/** How often a join is repeated whose messages were discarded while it read them. */
const MAX_JOINS = 3
/** Lifetimes are renewed when this part of the shortest one has passed. */
const RENEW_SHARE = 1 / 20

/** A job that no living node runs. */
export interface OrphanedJob {
  readonly stream: Stream
  readonly jobId: string
  readonly ownership: string
}

export interface Lease {
  readonly living: readonly string[]
  readonly expired: readonly string[]
  /** Whether this node should look for the jobs of the expired nodes. */
  readonly isChecker: boolean
}

/** What the broker reads and writes in Redis, each method in one step. */
export class Store {
  readonly #functions: Functions
  readonly #keys: Keys
  readonly #node: string
  readonly #settings: BrokerSettings
  readonly #isPublisher: boolean
  readonly #factory: PublicationFactory
  readonly #queue: PublishQueue
  readonly #joins = new SharedCalls<Joined>()
  readonly #limits: string
  #generation = ''
  /** Settings of this node as the functions take them. */
  #context = ''

  /** @param isPublisher Whether this is a publisher. Workers in other languages do not get its settings, because the app's may differ. */
  constructor (link: Link, keys: Keys, node: string, settings: BrokerSettings, isPublisher = false) {
    this.#functions = new Functions(link, keys.prefix)
    this.#keys = keys
    this.#node = node
    this.#settings = settings
    this.#isPublisher = isPublisher
    this.#factory = new PublicationFactory({ maxMessageBytes: MAX_MESSAGE_BYTES, deflateFromBytes: settings.deflateFromBytes })
    const { history: { maxMessages, maxBytes, ttlMs, endTtlMs }, maxTextUnits, stallAfterMs } = settings
    this.#limits = [
      Math.min(maxMessages, Number.MAX_SAFE_INTEGER), Math.min(maxBytes, Number.MAX_SAFE_INTEGER), lifetime(ttlMs), lifetime(endTtlMs),
      Math.min(maxTextUnits, MAX_TEXT_UNITS), stallAfterMs === Infinity ? '-' : Math.ceil(stallAfterMs)
    ].join(' ')
    this.#queue = new PublishQueue({
      renewMs: Math.min(lifetime(ttlMs), lifetime(endTtlMs)) * RENEW_SHARE,
      now: () => settings.clock.monotonic(),
      explain: (error) => explained(error, keys.prefix),
      send: (streams, args) => this.#functions.run('publish', streams.map((stream) => keys.stream(stream).metadata), [this.#context, ...args])
    })
  }

  get generation (): string {
    return this.#generation
  }

  /** Checks whether the store is the same as before. Returns whether it has lost history. */
  async greet (): Promise<boolean> {
    const run = /^run_id:(\w+)/m.exec(text(await this.#call('INFO', ['server'])))?.[1] ?? 'unknown'
    const keys = [this.#keys.remote, this.#keys.generation, ...this.#keys.bucketGenerations]
    const reply = list(await this.#run('hello', keys, [run, randomUUID().slice(0, 13), functionName('remote'), this.#settingsOf('-'), Number(!this.#isPublisher)]))
    const generation = text(reply[0])
    const isLost = this.#generation !== '' && this.#generation !== generation
    if (this.#generation !== generation) this.#queue.forgetRenewals()
    this.#generation = generation
    this.#context = `${generation} ${this.#settingsOf(this.#node)}`
    return isLost
  }

  publish (stream: Stream, body: string, options: PublishOptions): Promise<StoredResult> {
    const maxPlainBytes = Math.min(MAX_MESSAGE_BYTES, this.#settings.history.maxBytes)
    return this.#queue.add(stream, encode(body, options, { factory: this.#factory, maxBytes: MAX_MESSAGE_BYTES, maxPlainBytes }))
  }

  join (stream: Stream, since?: Position, have?: HeldTexts): Promise<Joined> {
    const held = [...have ?? []]
    const key = JSON.stringify([stream, since?.epoch, since?.seq, held])
    return this.#joins.get(key, () => this.#join(stream, since, held.flat()))
  }

  async #join (stream: Stream, since: Position | undefined, have: readonly Argument[]): Promise<Joined> {
    const seq = since !== undefined && Number.isSafeInteger(since.seq) ? since.seq : -1
    const position: Argument[] = since === undefined ? ['', 0] : [since.epoch === '' ? '-' : since.epoch, seq]
    for (let attempt = 1; ; attempt++) {
      const reply = list(await this.#ofStream('join', stream, [...position, EMPTY_TTL_MS, ...have]))
      const [epoch, latest, revision, why] = [text(reply[0]), Number(reply[1]), Number(reply[2]), text(reply[3])]
      const missed = await this.#messages(stream, epoch, latest, Number(reply[4]), list(reply[5]))
      if (missed === undefined) {
        if (attempt < MAX_JOINS) continue
        throw new Error(`the messages of ${stream} were discarded while they were read: Redis or this node is overloaded`)
      }
      const states = await Promise.all(reply.slice(6).map((state) => this.#stateOf(stream, epoch, state)))
      return {
        epoch,
        seq: latest,
        revision,
        recovered: why === '',
        ...(why !== '' && { reason: why as RecoveryFailure }),
        // A progress precedes an end with the same revision.
        replay: [...states, ...missed.map(publicationOf)].sort((a, b) => a.revision - b.revision)
      }
    }
  }

  /** Reads the messages that a join has not returned. Returns undefined if they are no longer kept. */
  async #messages (stream: Stream, epoch: string, latest: number, count: number, first: readonly unknown[]): Promise<readonly unknown[] | undefined> {
    const messages = [...first]
    while (messages.length < count) {
      const next = list(await this.#ofStream('messages', stream, [epoch, latest - count + messages.length + 1, latest]))
      if (next.length === 0) return undefined
      messages.push(...next)
    }
    return messages
  }

  /** Returns the publication of a state in the result of a join. Reads the rest of its text. */
  async #stateOf (stream: Stream, epoch: string, state: unknown): Promise<Publication> {
    if (!Array.isArray(state)) return publicationOf(state)
    const [jobId, body, to] = [text(state[0]), bytes(state[2]), Number(state[3])]
    const publication = { body, durable: false, revision: Number(state[1]), jobId }
    if (to < 0) return publication
    let offset = Number(state[4])
    const first = bytes(state[5]).toString('utf16le')
    const parts = [first]
    for (let end = offset + first.length; end < to;) {
      const [begin, part] = list(await this.#ofStream('text', stream, [epoch, jobId, end, to]))
      // The part before it was discarded in the meantime.
      if (Number(begin) > end) {
        offset = Number(begin)
        parts.length = 0
      }
      const piece = bytes(part).toString('utf16le')
      parts.push(piece)
      end = Number(begin) + piece.length
    }
    return { ...publication, text: { source: new FixedText(parts.join(''), offset), from: 0, to } }
  }

  async currentJob (stream: Stream): Promise<string | undefined> {
    return optionalText(await this.#job('current', stream, ''))
  }

  async ownerOf (stream: Stream, jobId: string): Promise<string | undefined> {
    return optionalText(await this.#job('owner', stream, jobId))
  }

  async adopt (stream: Stream, jobId: string): Promise<boolean> {
    return await this.#job('adopt', stream, jobId) === 1
  }

  async release (stream: Stream, jobId: string): Promise<boolean> {
    return await this.#job('release', stream, jobId) === 1
  }

  /** Renews this node's lease for `leaseMs`. With 0, ends it. */
  async lease (leaseMs: number): Promise<Lease> {
    const forWorkers = this.#isPublisher || leaseMs === 0 ? [] : [functionName('remote'), `${this.#generation} ${this.#settingsOf('-')}`]
    const args = [this.#node, leaseMs, Math.max(1, Math.floor(leaseMs / 3)), ...forWorkers]
    const [living, expired, isChecker] = list(await this.#run('lease', [this.#keys.nodes, this.#keys.check, this.#keys.remote], args))
    return { living: list(living).map(text), expired: list(expired).map(text), isChecker: isChecker === 1 }
  }

  /** Writes a revocation to the log and sends it. Returns the living nodes. */
  async revoke (message: string): Promise<string[]> {
    return list(await this.#run('revoke', [this.#keys.log, this.#keys.nodes], [this.#keys.control, message, LOG_TTL_MS])).map(text)
  }

  /** Returns the entries of the log from an id on, oldest first, as id and message. */
  async readLog (from: string): Promise<Array<readonly [id: string, message: string]>> {
    const entries = list(await this.#call('XRANGE', [this.#keys.log, from, '+', 'COUNT', 1_000]))
    return entries.map((entry) => {
      const [id, fields] = list(entry)
      return [text(id), text(list(fields)[1])] as const
    })
  }

  /** Returns the id of the newest entry of the log. */
  async endOfLog (): Promise<string> {
    const [newest] = list(await this.#call('XREVRANGE', [this.#keys.log, '+', '-', 'COUNT', 1]))
    return newest === undefined ? '0-0' : text(list(newest)[0])
  }

  /** Returns running jobs of expired nodes, and those that were released and not adopted in time. */
  async orphans (expired: readonly string[]): Promise<OrphanedJob[]> {
    const buckets = Array.from({ length: BUCKETS }, (_, bucket) => this.#keys.base(bucket))
    const replies = await Promise.all(buckets.map((base) => this.#run('orphans', [`${base}gen`, `${base}released`], [base, this.#generation, MAX_ORPHANS, ...expired])))
    // A node is forgotten once it owns no running job any more.
    if (expired.length > 0 && replies.every((reply) => list(reply)[0] === 0)) await this.#call('ZREM', [this.#keys.nodes, ...expired])
    return replies.flatMap((reply) => list(reply).slice(1).map((job) => {
      const [stream, jobId, ownership] = list(job)
      return { stream: text(stream) as Stream, jobId: text(jobId), ownership: text(ownership) }
    }))
  }

  /** Records that this node has published its jobs again. */
  async seeded (): Promise<void> {
    const key = this.#keys.seeded(this.#generation)
    await Promise.all([this.#call('SADD', [key, this.#node]), this.#call('PEXPIRE', [key, 60_000])])
  }

  /** Returns the nodes that have published their jobs again. */
  async seededNodes (): Promise<string[]> {
    return list(await this.#call('SMEMBERS', [this.#keys.seeded(this.#generation)])).map(text)
  }

  /** Makes sure that the numbering of streams does not expire soon. */
  async touch (streams: readonly Stream[]): Promise<void> {
    await Promise.all(streams.map((stream) => this.#call('PEXPIRE', [this.#keys.stream(stream).metadata, EMPTY_TTL_MS, 'GT'])))
  }

  /** Sends a message to a channel. Returns the number of connections that got it. */
  async send (channel: string, message: object): Promise<number> {
    return Number(await this.#call('PUBLISH', [channel, JSON.stringify(message)]))
  }

  async info (section: string): Promise<string> {
    return text(await this.#call('INFO', [section]))
  }

  /** Settings as the functions take them, without the generation. */
  #settingsOf (node: string): string {
    return `${node} ${this.#keys.node('')} ${this.#limits}`
  }

  #job (operation: string, stream: Stream, jobId: string): Promise<unknown> {
    return this.#ofStream('owner', stream, [operation, jobId])
  }

  #ofStream (name: 'join' | 'messages' | 'text' | 'owner', stream: Stream, args: readonly Argument[]): Promise<unknown> {
    return this.#run(name, [this.#keys.stream(stream).metadata], [this.#context, stream, ...args])
  }

  /** Executes a function, after what was published before. */
  #run (...call: Parameters<Functions['run']>): Promise<unknown> {
    this.#queue.flush()
    return this.#functions.run(...call)
  }

  #call (command: string, args: readonly Argument[]): Promise<unknown> {
    this.#queue.flush()
    return this.#functions.call(command, args)
  }
}

type Publication = Joined['replay'][number]

function publicationOf (frame: unknown): Publication {
  const { body, durable, revision, seq, jobId, supersedes } = parseFrame(bytes(frame))
  return { body, durable, revision, seq: durable ? seq : undefined, jobId, supersedes: supersedes || undefined }
}

/** Redis takes whole milliseconds, and no endless lifetime: 10 years stand for that. */
function lifetime (ms: number): number {
  return Math.max(1, Math.ceil(Math.min(ms, 315_360_000_000)))
}
