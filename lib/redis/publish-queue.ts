import type { Published, PublishOptions, Stream } from '../streams/broker.js'
import { newJobId } from '../streams/job-id.js'
import type { PublicationFactory } from '../streams/kept-publication.js'
import type { DropReason } from '../streams/session-jobs.js'
import type { Argument } from './link.js'
import { bytes, list } from './replies.js'

/** Bounds of one call of the function `publish`, so that it does not block Redis for long. A larger message has a call of its own. */
const MAX_MESSAGES = 32
const MAX_BYTES = 256 * 1024
/** Streams whose latest renewal is remembered. Others are renewed with each call. */
const MAX_RENEWALS = 10_000

/** A result of `publish`, and the revision of the message. 0 if it was refused. */
export interface StoredResult {
  readonly published: Omit<Published, 'recipients'>
  readonly revision: number
}

interface Batch {
  /** The streams of the messages. One that is published to again after another one is named again, so that the order is kept. */
  readonly streams: Stream[]
  readonly messages: Array<{ readonly settle: (reply: unknown) => void, readonly fail: (error: unknown) => void }>
  readonly args: Argument[]
  bytes: number
}

export interface PublishQueueOptions {
  /** Sends a call. Resolves with its reply. */
  readonly send: (streams: readonly Stream[], args: readonly Argument[]) => Promise<unknown>
  /** Turns an error of one message into one that names the fix. */
  readonly explain: (error: string) => Error
  /** How often the lifetimes of a stream's keys are renewed, in milliseconds, and the time. */
  readonly renewMs: number
  readonly now: () => number
}

/** Collects the messages of one tick, which share calls up to a limit. Keeps their order. */
export class PublishQueue {
  readonly #options: PublishQueueOptions
  readonly #renewals = new Map<Stream, number>()
  #batch: Batch | undefined
  /** Whether the batch of this tick will be sent at its end. */
  #isScheduled = false

  constructor (options: PublishQueueOptions) {
    this.#options = options
  }

  add (stream: Stream, args: readonly Argument[]): Promise<StoredResult> {
    const size = args.reduce<number>((sum, arg) => sum + (typeof arg === 'number' ? 8 : arg.length), 0)
    // What is full is sent at once, so that the bound of what waits for Redis holds within a tick, too.
    if (this.#batch !== undefined && (this.#batch.messages.length >= MAX_MESSAGES || this.#batch.bytes + size > MAX_BYTES)) this.flush()
    const batch = this.#batch ??= this.#begin()
    if (batch.streams.at(-1) !== stream) {
      batch.streams.push(stream)
      batch.args.push('g', stream)
      if (this.#isRenewalDue(stream)) batch.args.push('r')
    }
    batch.args.push(...args)
    batch.bytes += size
    const { messages } = batch
    return new Promise((resolve, reject) => {
      messages.push({
        settle: (reply) => {
          const result = bytes(reply).toString()
          if (result.startsWith('!')) reject(this.#options.explain(result.slice(1)))
          else resolve(parseResult(result))
        },
        fail: reject
      })
    })
  }

  /** Sends what was collected, before anything else is sent. */
  flush (): void {
    const batch = this.#batch
    if (batch === undefined) return
    this.#batch = undefined
    this.#send(batch)
  }

  /** Renews the lifetimes of all streams with their next messages, because the store has lost history. */
  forgetRenewals (): void {
    this.#renewals.clear()
  }

  #begin (): Batch {
    if (!this.#isScheduled) {
      this.#isScheduled = true
      process.nextTick(() => {
        this.#isScheduled = false
        this.flush()
      })
    }
    return { streams: [], messages: [], args: [], bytes: 0 }
  }

  #send ({ streams, messages, args }: Batch): void {
    this.#options.send(streams, args).then((reply) => {
      const replies = messages.length === 1 ? [reply] : list(reply)
      for (const [at, { settle }] of messages.entries()) settle(replies[at])
    }, (error: unknown) => {
      // Whether the renewals have happened is unknown.
      for (const stream of streams) this.#renewals.delete(stream)
      for (const { fail } of messages) fail(error)
    })
  }

  #isRenewalDue (stream: Stream): boolean {
    const now = this.#options.now()
    const latest = this.#renewals.get(stream)
    if (latest !== undefined && now - latest < this.#options.renewMs) return false
    this.#renewals.delete(stream)
    this.#renewals.set(stream, now)
    for (const oldest of this.#renewals.keys()) {
      if (this.#renewals.size <= MAX_RENEWALS) break
      this.#renewals.delete(oldest)
    }
    return true
  }
}

const [DURABLE, EPHEMERAL] = [1, 0]
const EVENTS = { start: 's', progress: 'p', complete: 'c', error: 'x' } as const

export interface EncodeOptions {
  readonly factory: PublicationFactory
  /** Bytes that one message may take, as `factory` estimates it, and the same for one that is not about a job. */
  readonly maxBytes: number
  readonly maxPlainBytes: number
}

/** Turns a message into arguments, as `lua/publish.ts` describes them. */
export function encode (body: string, options: PublishOptions, { factory, maxBytes, maxPlainBytes }: EncodeOptions): Argument[] {
  const { counter, key, job } = options
  const args: Argument[] = counter === undefined ? [] : ['k', counter]
  if (key !== undefined) args.push('i', key.id, key.request)
  if (job === undefined) {
    if (!options.durable) {
      args.push('e', ` 0 ${EPHEMERAL} 0\n${body}`)
    } else {
      // The place in the stream does not count, so any will do.
      const { bytes } = factory.make({ body, durable: true }, 0, 0)
      if (bytes > maxPlainBytes) args.push('n', ` ${bytes} ${DURABLE} 0\n${body}`)
      else args.push('d', bytes, ` ${bytes} ${DURABLE} 0\n${body}`)
    }
  } else {
    const { event, jobId, chunks, presumed = false, repeated = false, ownership } = job
    const { delta, from, truncated = false, shortForm } = options
    const durable = options.durable && event !== 'progress'
    const id = jobId ?? newJobId()
    const message = factory.make({ body, durable, jobId: id }, 0, 0, shortForm)
    const short = message.bytes <= maxBytes ? undefined : message.shortForm
    const fits = message.bytes <= maxBytes ? 1 : short === undefined ? 0 : 2
    const size = short === undefined ? message.bytes : message.bytes - short.bytes
    const flags = [presumed, repeated, truncated, jobId !== undefined, delta !== undefined, durable].map(Number).join('')
    args.push(EVENTS[event], `${flags}${fits}${Number(ownership !== undefined)}`, id, chunks ?? '', from ?? '', delta === undefined ? '' : Buffer.from(delta, 'utf16le'), body)
    if (event !== 'progress') args.push(size)
    if (ownership !== undefined) args.push(ownership)
    if (short !== undefined) args.push(short.body, short.bytes)
  }
  return args
}

function parseResult (result: string): StoredResult {
  const isRepeated = result.startsWith('*')
  const [epoch = '', revision, seq, kept = '1', textEnd = -1, dropped = '-', ...id] = result.slice(Number(isRepeated)).split(' ')
  const jobId = id.join(' ')
  return {
    revision: Number(revision),
    published: {
      epoch,
      seq: Number(seq),
      ...(jobId !== '' && { jobId }),
      ...(dropped !== '-' && { dropped: dropped as DropReason }),
      ...(kept === '0' && { kept: false as const }),
      ...(Number(textEnd) >= 0 && { textEnd: Number(textEnd) }),
      ...(isRepeated && { repeated: true as const })
    }
  }
}
