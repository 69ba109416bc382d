import { randomUUID } from 'node:crypto'
import type {
  BrokerSettings, HeldTexts, Joined, Ownership, Position, Publication, Published, PublishOptions, Stream, TextSlice, TextSource, TextSpan
} from '../../lib/streams/broker.js'
import { StreamStore } from '../../lib/streams/stream-store.js'
import { UsedKeys } from '../../lib/streams/used-keys.js'

/** How many results of each node, and how many publications of each stream, are remembered. */
const REMEMBERED_RESULTS = 64
const REMEMBERED_PUBLICATIONS = 1_000

/** A result that is remembered. The publishing node adds the number of its recipients. */
export type BusResult = { -readonly [K in keyof Published]: Published[K] }

export interface Execution {
  readonly result: BusResult
  /** The publications to deliver. Empty if the publication was refused, or was published before. */
  readonly publications: readonly Publication[]
  readonly disowned?: string | undefined
}

export interface RunningJob {
  readonly stream: Stream
  readonly jobId: string
  readonly owner: string | undefined
  readonly ownership: Ownership
}

/** A call that has changed the store. */
type Operation = { readonly stream: Stream, readonly node: string } & (
  | { readonly body: string, readonly options: PublishOptions, readonly seq: number }
  | { readonly jobId: string, readonly does: 'adopt' | 'release' }
)

/**
 * The data that the nodes of the bus share: streams, jobs and remembered results. Each method is one step, like a script in a
 * real store.
 *
 * `lose` and `loseTail` begin a new incarnation. An epoch consists of the store's id, the incarnation and the number that
 * `StreamStore` gives it. For each stream, the store remembers how much of each earlier epoch has survived.
 */
export class BusHistory {
  readonly #settings: BrokerSettings
  readonly #id = randomUUID().slice(0, 8)
  #incarnation = 0
  #streams: StreamStore
  /** The first part of the epochs of `#streams`. */
  #prefix: string
  /** The executed calls, oldest first. */
  #log: Operation[] = []
  #survived = new Map<Stream, Map<string, number>>()
  readonly #results = new Map<string, Map<number, BusResult>>()
  readonly #keys: UsedKeys
  readonly #recent = new Map<Stream, Publication[]>()
  readonly #running = new Map<Stream, Set<string>>()

  constructor (settings: BrokerSettings) {
    this.#settings = settings
    this.#keys = new UsedKeys(settings.clock)
    ;[this.#streams, this.#prefix] = this.#emptyStreams()
  }

  get incarnation (): number {
    return this.#incarnation
  }

  publish (node: string, stream: Stream, body: string, options: PublishOptions): Execution {
    const results = this.#resultsOf(node)
    const { counter, key } = options
    const first = (counter === undefined ? undefined : results.get(counter)) ?? (key === undefined ? undefined : this.#keys.find(stream, key))
    if (first !== undefined) return { result: first, publications: [] }
    const known = this.#streams.find(stream)
    let isKept: (() => boolean) | undefined
    const execution = this.#streams.update<Execution>(stream, (state) => {
      // The stream was forgotten and starts again.
      if (state !== known) this.#forgetLog(stream)
      const accepted = state.publish(body, options, node)
      const { disowned, textEnd } = accepted
      const result: BusResult = { epoch: this.#outer(state.epoch), seq: state.seq, recipients: 0, ...(textEnd !== undefined && { textEnd }) }
      if ('dropped' in accepted) return { result: { ...result, dropped: accepted.dropped }, publications: [], disowned }
      const { publications, jobId } = accepted
      for (const publication of publications) if (publication.durable) isKept = () => state.keeps(publication)
      if (jobId !== undefined) result.jobId = jobId
      return { result, publications: publications.map((publication) => copyOf(publication, publication.text && sent(publication.text))), disowned }
    })
    const { result, publications } = execution
    if (isKept?.() === false) result.kept = false
    this.#remember(stream, publications)
    this.#note(stream, result.jobId, options)
    this.#keys.add(stream, options, result)
    if (counter !== undefined) {
      results.set(counter, result)
      for (const oldest of results.keys()) {
        if (results.size <= REMEMBERED_RESULTS) break
        results.delete(oldest)
      }
    }
    this.#log.push({ stream, node, body, options: withJobId(options, result.jobId), seq: result.seq })
    return execution
  }

  join (stream: Stream, since?: Position, have?: HeldTexts): Joined {
    const joined = this.#streams.join(stream, since === undefined ? undefined : { epoch: this.#inner(stream, since), seq: since.seq })
    const replay = joined.replay.map((publication) => {
      const { text, jobId = '' } = publication
      return copyOf(publication, text && withoutHeld(text, have?.get(jobId) ?? 0))
    })
    return { ...joined, epoch: this.#outer(joined.epoch), replay }
  }

  unsubscribe (stream: Stream): void {
    this.#streams.unsubscribe(stream)
  }

  currentJob (stream: Stream): string | undefined {
    return this.#streams.find(stream)?.currentJob
  }

  adopt (node: string, stream: Stream, jobId: string): { disowned: string | undefined } | false {
    const adopted = this.#streams.find(stream)?.adopt(jobId, node) ?? false
    if (adopted !== false) this.#log.push({ stream, node, jobId, does: 'adopt' })
    return adopted
  }

  release (node: string, stream: Stream, jobId: string): boolean {
    const released = this.#streams.find(stream)?.release(jobId, node) === true
    if (released) this.#log.push({ stream, node, jobId, does: 'release' })
    return released
  }

  /** Returns a running job. */
  job (stream: Stream, jobId: string): RunningJob | undefined {
    const job = this.#streams.find(stream)?.ownerOf(jobId)
    return job && { stream, jobId, owner: job.owner, ownership: job.ownership }
  }

  get jobs (): RunningJob[] {
    return [...this.#running].flatMap(([stream, ids]) => [...ids].map((jobId) => this.job(stream, jobId))).filter((job) => job !== undefined)
  }

  /** Returns the publications after a revision, unless some of them are no longer remembered. */
  after (stream: Stream, revision: number): readonly Publication[] | undefined {
    const missing = this.#streams.join(stream, undefined).revision - revision
    const missed = (this.#recent.get(stream) ?? []).filter((publication) => publication.revision > revision)
    return missing === missed.length ? missed : undefined
  }

  /** Loses everything. */
  lose (): void {
    this.#survived.clear()
    this.#restart([])
  }

  /** Loses the newest publications, as in a failover to a replica that lags behind. */
  loseTail (count: number, joined: Iterable<Stream>): void {
    const published = this.#log.flatMap((operation, at) => 'body' in operation ? [at] : [])
    const rest = count === 0 ? this.#log : this.#log.slice(0, published.at(-count) ?? 0)
    const epochs = new Map<Stream, string>()
    for (const stream of [...joined, ...this.#log.map(({ stream }) => stream)]) {
      const epoch = this.#streams.find(stream)?.epoch
      if (!epochs.has(stream)) epochs.set(stream, epoch === undefined ? this.join(stream).epoch : this.#outer(epoch))
    }
    this.#restart(rest)
    // A change of the owner may have been lost.
    for (const { stream, jobId, owner } of this.jobs) if (owner !== undefined) this.#streams.find(stream)?.release(jobId, owner)
    for (const [stream, epoch] of epochs) {
      const head = this.#streams.find(stream)?.seq ?? 0
      const survived = [...this.#survived.get(stream) ?? []].map(([older, seq]) => [older, Math.min(seq, head)] as const)
      this.#survived.set(stream, new Map([...survived, [epoch, head]]))
    }
  }

  close (): void {
    this.#streams.clear()
  }

  #restart (operations: readonly Operation[]): void {
    this.#streams.clear()
    for (const map of [this.#results, this.#keys, this.#recent, this.#running]) map.clear()
    this.#log = []
    this.#incarnation++
    ;[this.#streams, this.#prefix] = this.#emptyStreams()
    for (const operation of operations) {
      const { stream, node } = operation
      if ('does' in operation) this[operation.does](node, stream, operation.jobId)
      else if (this.publish(node, stream, operation.body, operation.options).result.seq !== operation.seq) throw new Error(`the log of ${stream} is wrong`)
    }
  }

  /** Returns a new store and the first part of its epochs. The stream `all` always has subscribers. */
  #emptyStreams (): [StreamStore, string] {
    const { history, ...others } = this.#settings
    const streams = new StreamStore({ ...history, ...others })
    return [streams, streams.join('all', undefined).epoch.split('.')[0]!]
  }

  #outer (epoch: string): string {
    return `${this.#id}.${this.#incarnation}.${epoch.split('.')[1]!}`
  }

  /** Returns the epoch of a position as `StreamStore` knows it, or an empty string if the position did not survive. */
  #inner (stream: Stream, { epoch, seq }: Position): string {
    const [id, incarnation, count] = epoch.split('.')
    if (id === this.#id && incarnation === String(this.#incarnation)) return `${this.#prefix}.${count!}`
    if (seq > (this.#survived.get(stream)?.get(epoch) ?? -1)) return ''
    return this.#streams.join(stream, undefined).epoch
  }

  #resultsOf (node: string): Map<number, BusResult> {
    let results = this.#results.get(node)
    if (results === undefined) this.#results.set(node, results = new Map<number, BusResult>())
    return results
  }

  #remember (stream: Stream, publications: readonly Publication[]): void {
    const recent = this.#recent.get(stream) ?? []
    recent.push(...publications)
    // This is not done on each publish, because it moves the whole array.
    if (recent.length > 2 * REMEMBERED_PUBLICATIONS) recent.splice(0, recent.length - REMEMBERED_PUBLICATIONS)
    this.#recent.set(stream, recent)
  }

  /** Keeps track of the running jobs. */
  #note (stream: Stream, jobId: string | undefined, { job }: PublishOptions): void {
    if (jobId === undefined || job === undefined) return
    const running = this.#running.get(stream) ?? new Set()
    if (job.event === 'start' || job.event === 'progress') running.add(jobId)
    else running.delete(jobId)
    if (running.size > 0) this.#running.set(stream, running)
    else this.#running.delete(stream)
  }

  #forgetLog (stream: Stream): void {
    if (!this.#recent.delete(stream)) return
    this.#log = this.#log.filter((operation) => operation.stream !== stream)
    this.#survived.delete(stream)
  }
}

/** Returns the options with the job id that the rules chose. Without it, another id would be generated when the log is replayed. */
function withJobId (options: PublishOptions, jobId: string | undefined): PublishOptions {
  return options.job === undefined || jobId === undefined ? options : { ...options, job: { ...options.job, jobId } }
}

/** Returns a copy of a publication, because the delivery layer of each node stores its own frame in it. */
function copyOf ({ body, durable, revision, seq, jobId, supersedes }: Publication, text: TextSpan | undefined): Publication {
  return { body, durable, revision, seq, jobId, supersedes, text }
}

/** A part of a text that does not change any more. */
class SentText implements TextSource {
  readonly end: number
  readonly units: number
  readonly #text: string
  readonly #begin: number
  readonly #whole: TextSource | undefined

  /** @param whole Returns the text before this part. */
  constructor ({ text, offset }: TextSlice, whole?: TextSource) {
    this.#text = text
    this.#begin = offset
    this.#whole = whole
    this.end = offset + text.length
    this.units = whole === undefined ? text.length : Math.max(text.length, this.end - (whole.end - whole.units))
  }

  slice (from: number, to = this.end): TextSlice {
    if (from < this.#begin && this.#whole !== undefined) return this.#whole.slice(from, Math.min(to, this.end))
    const offset = Math.max(this.#begin, Math.min(from, to))
    return { text: this.#text.slice(offset - this.#begin, Math.max(0, to - this.#begin)), offset, truncated: offset > from }
  }
}

/**
 * Returns a copy of a text span that is sent with its publication. The text before the span is not copied, as if each node had
 * kept the text that it received.
 */
function sent ({ source, from, to }: TextSpan): TextSpan {
  return { source: new SentText(source.slice(from, to), source), from, to }
}

/**
 * Returns the text without the part that the subscriber has. If the text is shorter than that part, the subscriber has a
 * different text.
 */
function withoutHeld ({ source, from, to }: TextSpan, held: number): TextSpan {
  return { source: new SentText(source.slice(held > to ? 0 : held, to)), from, to }
}
