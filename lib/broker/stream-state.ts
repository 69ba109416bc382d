import { randomUUID } from 'node:crypto'
import { SessionJobs, type DropReason, type Job } from '../jobs/job.js'
import { RunningText } from '../jobs/text.js'
import type { Joined, Position, Publication, PublishOptions, Unrecovered } from './broker.js'

export interface StreamBounds {
  /** Messages and bytes that are kept of one stream. */
  readonly maxMessages: number
  readonly maxBytes: number
  /** UTF-16 units that are kept of one job's text. */
  readonly maxTextUnits: number
}

/** What a job leaves for those who come later. */
interface JobRecord {
  start?: Publication | undefined
  progress?: Publication | undefined
  end?: Publication | undefined
  text?: RunningText | undefined
  /** How much of the text was passed on. */
  told: number
  /** What all this costs. */
  bytes: number
}

/** A message that is kept, and what it costs. */
interface Entry {
  readonly publication: Publication
  readonly bytes: number
}

/** A publication that was accepted, with what must go out right before it; or why it was not. */
export type Accepted =
  | { readonly publications: readonly Publication[], readonly jobId?: string }
  | { readonly dropped: DropReason }

/**
 * What a kept publication costs beside its characters: two objects, two strings' heads, a buffer. The characters count
 * twice, once as text and once as a ready frame.
 */
const OVERHEAD_BYTES = 400

function weigh (publication: Publication | undefined): number {
  return publication === undefined ? 0 : Buffer.byteLength(publication.body) * 2 + OVERHEAD_BYTES
}

/** One stream: its numbers, its latest messages, and the state of its jobs. */
export class StreamState {
  readonly epoch: string
  seq = 0
  /** When it was last published to, or left by its last follower. */
  touchedAt = 0
  readonly #bounds: StreamBounds
  #revision = 0
  /** The latest durable messages without a hole, oldest first. */
  #entries: Entry[] = []
  #entryBytes = 0
  #jobs: SessionJobs<JobRecord> | undefined
  #jobBytes = 0

  constructor (epoch: string, bounds: StreamBounds) {
    this.epoch = epoch
    this.#bounds = bounds
  }

  /** What it keeps, in bytes, generously counted. */
  get bytes (): number {
    return this.#entryBytes + this.#jobBytes
  }

  get currentJob (): string | undefined {
    return this.#jobs?.newestRunning?.id
  }

  publish (body: string, options: PublishOptions): Accepted {
    if (options.job === undefined) return { publications: [this.#number({ body, durable: options.durable })] }
    this.#jobs ??= new SessionJobs<JobRecord>(randomUUID, () => ({ told: 0, bytes: 0 }), ({ record }) => { this.#unlearn(record) })
    const verdict = this.#jobs.apply(options.job)
    if ('dropped' in verdict) {
      if (verdict.presumed !== undefined) this.#keepText(verdict.presumed, body, options)
      return { dropped: verdict.dropped }
    }
    const { job, supersedes } = verdict
    const publications = options.job.event === 'progress' || options.job.presumed === true ? [] : this.#heldBack(job)
    const text = options.job.event === 'progress' ? this.#extend(job, options.delta) : undefined
    publications.push(this.#number({
      body,
      durable: options.durable,
      jobId: job.id,
      ...(supersedes && { supersedes }),
      ...(options.textAt !== undefined && { textAt: options.textAt }),
      ...(text !== undefined && { text })
    }))
    this.#remember(job, options.job.event, publications)
    return { publications, jobId: job.id }
  }

  join (since: Position | undefined): Joined {
    const { epoch, seq } = this
    const head = { epoch, seq, revision: this.#revision }
    const outcome = since === undefined ? 'new' : this.#missed(since)
    if (typeof outcome === 'string') return { ...head, recovered: false, reason: outcome, replay: this.#inOrder(this.#presentState()) }
    return { ...head, recovered: true, replay: this.#inOrder([...outcome, ...this.#progressOf(outcome)]) }
  }

  /** Lets go of its messages. The running jobs and the latest end stay. */
  settle (): void {
    this.#entries = []
    this.#entryBytes = 0
    for (const job of this.#jobs?.ended ?? []) {
      if (job === this.#jobs?.latestEnded) continue
      job.record.start = job.record.progress = job.record.end = job.record.text = undefined
      this.#reweigh(job.record)
    }
  }

  /** Lets go of everything but its numbers, and which jobs run and how long their texts are: what they say next must fit. */
  empty (): void {
    this.settle()
    this.#jobs?.forgetEnded()
    for (const { record } of this.#jobs?.running ?? []) {
      record.start = undefined
      // With text it stays, to tell those who lack some that it is gone.
      if (record.text === undefined) record.progress = undefined
      else record.text.shed()
      record.bytes = 0
    }
    this.#jobBytes = 0
  }

  /** What came after a position, or why that can't be told. */
  #missed (since: Position): Publication[] | Unrecovered {
    // Written so that what is no number at all is no position either.
    if (since.epoch !== this.epoch || !(Number.isInteger(since.seq) && since.seq >= 0 && since.seq <= this.seq)) return 'restarted'
    const missed = this.seq - since.seq
    if (missed > this.#bounds.maxMessages) return 'overflow'
    if (missed > this.#entries.length) return 'expired'
    return this.#entries.slice(this.#entries.length - missed).map(({ publication }) => publication)
  }

  #number (publication: Omit<Publication, 'revision' | 'seq'>): Publication {
    const revision = ++this.#revision
    if (!publication.durable) return { ...publication, revision }
    const entry = { ...publication, revision, seq: ++this.seq }
    const bytes = weigh(entry)
    this.#entries.push({ publication: entry, bytes })
    this.#entryBytes += bytes
    while (this.#entries.length > this.#bounds.maxMessages || this.#entryBytes > this.#bounds.maxBytes) this.#dropOldest()
    return entry
  }

  /** A progress of a job that has text always speaks of it, so that one without news can take an older one's place. */
  #extend ({ record }: Job<JobRecord>, delta: string | undefined): Publication['text'] {
    if (delta !== undefined) record.text ??= new RunningText(this.#bounds.maxTextUnits)
    if (record.text === undefined) return undefined
    const { text, offset } = record.text.append(delta ?? '')
    record.told = record.text.end
    return { source: record.text, from: offset, to: offset + text.length }
  }

  /**
   * The text that was not passed on yet, as a progress of its own before the end: half a surrogate pair that waited for its
   * other half, and what came after an end that was only presumed.
   */
  #heldBack ({ id, record }: Job<JobRecord>): Publication[] {
    const { progress, text, told } = record
    if (progress === undefined || text === undefined) return []
    text.append('', true)
    if (text.end === told) return []
    record.told = text.end
    return [this.#number({ ...progress, jobId: id, text: { source: text, from: told, to: text.end } })]
  }

  /** A progress after an end that was only presumed is not passed on, but its text is part of what the real end ends. */
  #keepText ({ id, record }: Job<JobRecord>, body: string, { delta, textAt }: PublishOptions): void {
    const { end } = record
    // Without its end its text has gone too, and the new part would be taken for the whole.
    if (delta === undefined || end === undefined) return
    record.text ??= new RunningText(this.#bounds.maxTextUnits)
    record.text.append(delta)
    record.progress ??= { body, durable: false, revision: end.revision, jobId: id, ...(textAt !== undefined && { textAt }) }
    this.#reweigh(record)
  }

  /** A job is no longer remembered: who would need its text can't be recovered any more. */
  #unlearn ({ text, end, bytes }: JobRecord): void {
    this.#jobBytes -= bytes
    if (text === undefined || end === undefined) return
    while (this.#entries[0] !== undefined && this.#entries[0].publication.revision <= end.revision) this.#dropOldest()
  }

  #dropOldest (): void {
    for (const { bytes } of this.#entries.splice(0, 1)) this.#entryBytes -= bytes
  }

  #remember ({ record }: Job<JobRecord>, event: 'start' | 'progress' | 'complete' | 'error', publications: readonly Publication[]): void {
    const latest = publications.at(-1)
    if (event === 'start') record.start = latest
    else if (event === 'progress') record.progress = latest
    else record.end = latest
    this.#reweigh(record)
  }

  #reweigh (record: JobRecord): void {
    this.#jobBytes -= record.bytes
    record.bytes = OVERHEAD_BYTES + weigh(record.start) + weigh(record.progress) + weigh(record.end) + (record.text?.units ?? 0) * 2
    this.#jobBytes += record.bytes
  }

  #presentState (): Publication[] {
    const state: Array<Publication | undefined> = []
    const ended = this.#jobs?.latestEnded?.record
    if (ended !== undefined) state.push(withWholeText(ended), ended.end)
    for (const { record } of this.#jobs?.running ?? []) state.push(record.start, wholeProgress(record))
    return state.filter((publication) => publication !== undefined)
  }

  /** Behind what was missed: the newest progress of each running job, and the text of each that ended meanwhile. */
  #progressOf (missed: readonly Publication[]): Publication[] {
    const state: Array<Publication | undefined> = []
    for (const { record } of this.#jobs?.ended ?? []) {
      if (record.end !== undefined && missed.includes(record.end)) state.push(withWholeText(record))
    }
    for (const { record } of this.#jobs?.running ?? []) state.push(wholeProgress(record))
    return state.filter((publication) => publication !== undefined)
  }

  #inOrder (publications: Publication[]): Publication[] {
    return publications.sort((a, b) => a.revision - b.revision)
  }
}

/** The newest progress with all of the text that is kept. */
function wholeProgress ({ progress, text }: JobRecord): Publication | undefined {
  if (progress === undefined || text === undefined) return progress
  return { ...progress, text: { source: text, from: 0, to: text.end } }
}

/** The same, only if there is text: behind an end the numbers alone tell nothing. */
function withWholeText (record: JobRecord): Publication | undefined {
  return record.text === undefined ? undefined : wholeProgress(record)
}
