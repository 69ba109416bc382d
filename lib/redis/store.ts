import { createHash, randomUUID } from 'node:crypto'
import type { BrokerSettings, HeldTexts, Joined, Position, Published, PublishOptions, RecoveryFailure, Stream } from '../streams/broker.js'
import { newJobId } from '../streams/job-id.js'
import { PublicationFactory } from '../streams/kept-publication.js'
import type { DropReason } from '../streams/session-jobs.js'
import { parseFrame, type Frame } from './frame.js'
import { BUCKETS, type Keys } from './keys.js'
import type { Argument, Link } from './link.js'
import { FixedText } from './local-texts.js'
import { JOIN } from './scripts/join.js'
import { HELLO, LEASE, ORPHANS, REVOKE } from './scripts/nodes.js'
import { OWNER_OF_JOB } from './scripts/owner.js'
import { PUBLISH } from './scripts/publish.js'

/** The most that one message may take, in bytes, as `lib/streams/kept-publication.ts` estimates it. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024
/** The most text that one job may keep, in UTF-16 units: one read of it must not block Redis for long. */
const MAX_TEXT_UNITS = 2 * 1024 * 1024
/** Lifetime of a stream that was never published to, in milliseconds. Nodes renew it while they follow the stream. */
export const EMPTY_TTL_MS = 600_000
/** Jobs of one bucket that are read at once. */
const MAX_ORPHANS = 100
/** How long a revocation is kept for nodes that are cut off, in milliseconds. */
const LOG_TTL_MS = 86_400_000

const digest = (script: string): string => createHash('sha1').update(script).digest('hex')
const scripts = new Map([PUBLISH, JOIN, OWNER_OF_JOB, HELLO, LEASE, REVOKE, ORPHANS].map((script) => [script, digest(script)]))

/** Thrown if the store has lost history since this node last looked. The command was not executed. */
export class OutdatedError extends Error {}

/** Thrown if a key of a stream belongs to another program. Other streams are not concerned. */
export class ForeignKeyError extends Error {}

/** A result of `publish`, and the revision of the message. 0 if it was refused. */
export interface StoredResult {
  readonly published: Omit<Published, 'recipients'>
  readonly revision: number
}

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
  readonly #link: Link
  readonly #keys: Keys
  readonly #node: string
  readonly #settings: BrokerSettings
  readonly #factory: PublicationFactory
  readonly #limits: readonly number[]
  generation = ''

  constructor (link: Link, keys: Keys, node: string, settings: BrokerSettings) {
    this.#link = link
    this.#keys = keys
    this.#node = node
    this.#settings = settings
    this.#factory = new PublicationFactory({ maxMessageBytes: MAX_MESSAGE_BYTES, deflateFromBytes: settings.deflateFromBytes })
    const { maxMessages, maxBytes, ttlMs, endTtlMs } = settings.history
    this.#limits = [Math.min(maxMessages, Number.MAX_SAFE_INTEGER), Math.min(maxBytes, Number.MAX_SAFE_INTEGER), lifetime(ttlMs), lifetime(endTtlMs),
      Math.min(settings.maxTextUnits, MAX_TEXT_UNITS)]
  }

  /** Prepares a new connection, and checks whether the store is the same. Returns whether it has lost history. */
  async greet (): Promise<boolean> {
    await Promise.all([...scripts.keys()].map((script) => this.#call('SCRIPT', ['LOAD', script])))
    const run = /^run_id:(\w+)/m.exec(text(await this.#call('INFO', ['server'])))?.[1] ?? 'unknown'
    const reply = list(await this.#run(HELLO, [this.#keys.generation, ...this.#keys.bucketGenerations], [run, randomUUID().slice(0, 13)]))
    const generation = text(reply[0])
    const isLost = this.generation !== '' && this.generation !== generation
    this.generation = generation
    return isLost
  }

  async publish (stream: Stream, body: string, options: PublishOptions): Promise<StoredResult> {
    const keys = this.#keys.stream(stream)
    const { durable, job, delta, from, truncated = false, counter, shortForm } = options
    const newId = job === undefined ? '' : newJobId()
    const { jobId, event = '-', chunks, presumed = false, repeated = false, ownership } = job ?? {}
    // The place in the stream does not count, so any will do.
    const message = this.#factory.make({ body, durable: durable && event !== 'progress', jobId: job && (jobId ?? newId) }, 0, 0, shortForm)
    const size = message.bytes - (message.shortForm?.bytes ?? 0)
    const limit = job === undefined ? Math.min(MAX_MESSAGE_BYTES, this.#settings.history.maxBytes) : MAX_MESSAGE_BYTES
    const short = message.bytes <= limit ? undefined : message.shortForm
    const fits = message.bytes <= limit ? 1 : short === undefined ? 0 : 2
    const flags = [durable && event !== 'progress', presumed, repeated, truncated, delta !== undefined, jobId !== undefined, ownership !== undefined]
    const reply = list(await this.#run(PUBLISH, [keys.generation, keys.metadata, keys.list, keys.jobs, `${keys.base}results:${this.#node}`], [
      keys.base, stream, this.generation, this.#node, event, flags.map(Number).join(''), jobId ?? '', newId, numberOr(chunks), ownership ?? '',
      delta === undefined ? '' : Buffer.from(delta, 'utf16le'), numberOr(from), body, fits === 2 ? size : message.bytes, fits, short?.body ?? '', short?.bytes ?? 0,
      counter ?? '', '', epochEnd(), ...this.#limits, this.#keys.node('')
    ]))
    const [dropped, textEnd] = [text(reply[4]), Number(reply[6])]
    const id = text(reply[3])
    return {
      revision: Number(reply[2]),
      published: {
        epoch: text(reply[0]),
        seq: Number(reply[1]),
        ...(id !== '' && { jobId: id }),
        ...(dropped !== '' && { dropped: dropped as DropReason }),
        ...(Number(reply[5]) === 0 && { kept: false as const }),
        ...(textEnd >= 0 && { textEnd })
      }
    }
  }

  async join (stream: Stream, since?: Position, have?: HeldTexts): Promise<Joined> {
    const keys = this.#keys.stream(stream)
    const seq = since !== undefined && Number.isSafeInteger(since.seq) ? since.seq : -1
    const position: Argument[] = since === undefined ? ['', 0] : [since.epoch === '' ? '-' : since.epoch, seq]
    const reply = list(await this.#run(JOIN, [keys.generation, keys.metadata, keys.list, keys.jobs], [
      keys.base, stream, this.generation, epochEnd(), ...position, this.#limits[0] ?? 0, EMPTY_TTL_MS, ...[...have ?? []].flat()
    ]))
    const [epoch, latest, revision, reason, entries, ...states] = reply
    const why = text(reason)
    const missed = list(entries).map((entry) => publicationOf(parseFrame(bytes(entry))))
    const kept = states.map((state) => {
      const [frame, end, offset, units] = list(state)
      const publication = publicationOf(parseFrame(bytes(frame)))
      const to = Number(end)
      if (to < 0) return publication
      return { ...publication, text: { source: new FixedText(bytes(units).toString('utf16le'), Number(offset)), from: 0, to } }
    })
    return {
      epoch: text(epoch),
      seq: Number(latest),
      revision: Number(revision),
      recovered: why === '',
      ...(why !== '' && { reason: why as RecoveryFailure }),
      // A progress precedes an end with the same revision.
      replay: [...kept, ...missed].sort((a, b) => a.revision - b.revision)
    }
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
    const [living, expired, isChecker] = list(await this.#run(LEASE, [this.#keys.nodes, this.#keys.check], [this.#node, leaseMs, Math.max(1, Math.floor(leaseMs / 3))]))
    return { living: list(living).map(text), expired: list(expired).map(text), isChecker: isChecker === 1 }
  }

  /** Writes a revocation to the log and sends it. Returns the living nodes. */
  async revoke (message: string): Promise<string[]> {
    return list(await this.#run(REVOKE, [this.#keys.log, this.#keys.nodes], [this.#keys.control, message, LOG_TTL_MS])).map(text)
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
    const replies = await Promise.all(buckets.map((base) => this.#run(ORPHANS, [`${base}gen`, `${base}released`], [base, this.generation, MAX_ORPHANS, ...expired])))
    // A node is forgotten once it owns no running job any more.
    if (expired.length > 0 && replies.every((reply) => list(reply)[0] === 0)) await this.#call('ZREM', [this.#keys.nodes, ...expired])
    return replies.flatMap((reply) => {
      const values = list(reply).slice(1).map(text)
      return Array.from({ length: values.length / 3 }, (_, at) => ({
        stream: values[3 * at] as Stream, jobId: values[3 * at + 1] ?? '', ownership: values[3 * at + 2] ?? ''
      }))
    })
  }

  /** Records that this node has published its jobs again. */
  async seeded (): Promise<void> {
    const key = this.#keys.seeded(this.generation)
    await Promise.all([this.#call('SADD', [key, this.#node]), this.#call('PEXPIRE', [key, 60_000])])
  }

  /** Returns the nodes that have published their jobs again. */
  async seededNodes (): Promise<string[]> {
    return list(await this.#call('SMEMBERS', [this.#keys.seeded(this.generation)])).map(text)
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

  #job (operation: string, stream: Stream, jobId: string): Promise<unknown> {
    const keys = this.#keys.stream(stream)
    const { stallAfterMs } = this.#settings
    return this.#run(OWNER_OF_JOB, [keys.generation, keys.jobs], [
      keys.base, stream, this.generation, this.#node, operation, jobId, stallAfterMs === Infinity ? '' : Math.ceil(stallAfterMs), this.#limits[3] ?? 0, this.#keys.node('')
    ])
  }

  async #run (script: string, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    const rest = [keys.length, ...keys, ...args]
    try {
      return await this.#link.call('EVALSHA', [scripts.get(script) ?? '', ...rest])
    } catch (error) {
      // Someone has flushed the scripts.
      if (messageOf(error).startsWith('NOSCRIPT')) return this.#call('EVAL', [script, ...rest])
      throw explained(error, this.#keys.prefix)
    }
  }

  async #call (command: string, args: readonly Argument[]): Promise<unknown> {
    try {
      return await this.#link.call(command, args)
    } catch (error) {
      throw explained(error, this.#keys.prefix)
    }
  }
}

function publicationOf ({ body, durable, revision, seq, jobId, supersedes }: Frame): Joined['replay'][number] {
  return { body, durable, revision, seq: durable ? seq : undefined, jobId, supersedes: supersedes || undefined }
}

/** Turns an error of Redis into one that names the fix. */
function explained (error: unknown, prefix: string): unknown {
  const message = messageOf(error)
  if (message.includes('AICWGEN')) return new OutdatedError('the store has lost history')
  if (message.includes('WRONGTYPE')) {
    return new ForeignKeyError(`a key that begins with "${prefix}" has another type: it belongs to another program. Give redisBroker() a prefix of its own`, { cause: error })
  }
  if (/NOPERM|NOAUTH|permission/.test(message)) {
    return new Error(`Redis refuses a command of redisBroker(): ${message}. Grant its user the keys, channels and commands that its README lists`, { cause: error })
  }
  if (message.includes('OOM')) return new Error('Redis has reached its maxmemory: raise it, or lower the limits of history', { cause: error })
  return error
}

export function messageOf (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** End of a new epoch's name. The script uses it if the stream is new. */
function epochEnd (): string {
  return Math.floor(Math.random() * 36 ** 8).toString(36)
}

function numberOr (value: number | undefined): Argument {
  return value ?? ''
}

/** Redis takes whole milliseconds, and no endless lifetime: 10 years stand for that. */
function lifetime (ms: number): number {
  return Math.max(1, Math.ceil(Math.min(ms, 315_360_000_000)))
}

function list (reply: unknown): readonly unknown[] {
  return Array.isArray(reply) ? reply : []
}

function bytes (reply: unknown): Buffer {
  return Buffer.isBuffer(reply) ? reply : Buffer.from(typeof reply === 'string' ? reply : '')
}

function text (reply: unknown): string {
  return bytes(reply).toString()
}

function optionalText (reply: unknown): string | undefined {
  return reply === null || reply === undefined ? undefined : text(reply)
}
