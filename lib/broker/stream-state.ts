import { randomUUID } from 'node:crypto'
import { mayGoOn, SessionJobs, type DropReason, type Job } from '../jobs/job.js'
import { RunningText } from '../jobs/text.js'
import type { Joined, Position, Publication, PublishOptions, Unrecovered } from './broker.js'

export interface StreamBounds {
  /** Messages and bytes that are kept of one stream. */
  readonly maxMessages: number
  readonly maxBytes: number
  /** UTF-16 units that are kept of one job's text. */
  readonly maxTextUnits: number
  /** Messages of so many bytes are kept as two frames, one of them deflated. @default Infinity */
  readonly deflateFromBytes?: number
}

/** What a job leaves for those who come later. */
interface JobRecord {
  start?: Entry | undefined
  progress?: Entry | undefined
  end?: Entry | undefined
  text?: RunningText | undefined
  /** How much of the text was passed on. */
  told: number
  /** What all this costs. */
  bytes: number
}

/** A message that is kept, and what it costs: measured once, and never less than it is. */
interface Entry {
  readonly publication: Publication
  readonly bytes: number
}

/** A publication that was accepted, with what must go out right before it; or why it was not. */
export type Accepted =
  | { readonly publications: readonly Publication[], readonly jobId?: string }
  | { readonly dropped: DropReason }

/**
 * What a kept publication costs beside its characters: objects, strings' heads, a buffer, the fields that are written into
 * the frame. 690 bytes were measured with one frame, and 860 with two. A job costs less beside its publications.
 */
const OVERHEAD_BYTES = 768
const DEFLATED_OVERHEAD_BYTES = 192
/** What a stream costs that keeps anything; 450 bytes were measured. The number of those that keep nothing has a bound of its own. */
const STREAM_BYTES = 512

/** One stream: its numbers, its latest messages, and the state of its jobs. */
export class StreamState {
  readonly epoch: string
  seq = 0
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

  /** What it keeps, in bytes: never less than that takes in memory. */
  get bytes (): number {
    const kept = this.#entryBytes + this.#jobBytes
    return kept === 0 ? 0 : kept + STREAM_BYTES
  }

  get currentJob (): string | undefined {
    return this.#jobs?.newestRunning?.id
  }

  /** Whether more may come of a job: what it says next must fit to what it said before. */
  get mayGoOn (): boolean {
    return (this.#jobs?.open.length ?? 0) > 0
  }

  publish (body: string, options: PublishOptions): Accepted {
    if (options.job === undefined) return { publications: [this.#number({ body, durable: options.durable }).publication] }
    this.#jobs ??= new SessionJobs<JobRecord>(randomUUID, () => ({ told: 0, bytes: 0 }), ({ record }) => { this.#unlearn(record) })
    const verdict = this.#jobs.apply(options.job)
    if ('dropped' in verdict) {
      if (verdict.presumed !== undefined) this.#keepText(verdict.presumed, body, options)
      return { dropped: verdict.dropped }
    }
    const { job, supersedes } = verdict
    const publications = options.job.event === 'progress' || options.job.presumed === true ? [] : this.#heldBack(job)
    const text = options.job.event === 'progress' ? this.#extend(job, options.delta) : undefined
    const { durable, textAt } = options
    const latest = this.#number({ body, durable, jobId: job.id, supersedes: supersedes || undefined, textAt, text })
    this.#remember(job, options.job.event, latest)
    publications.push(latest.publication)
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
      strip(job)
      this.#reweigh(job.record)
    }
  }

  /** Lets go of everything but its numbers, and of which jobs more may come and how long their texts are: what they say next must fit. */
  empty (): void {
    this.settle()
    this.#jobs?.forgetEnded()
    for (const job of this.#jobs?.open ?? []) {
      strip(job)
      job.record.bytes = 0
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

  #number (body: Omit<Publication, 'revision' | 'seq' | 'made'>): Entry {
    const revision = ++this.#revision
    const publication: Publication = body.durable ? { ...body, revision, seq: ++this.seq } : { ...body, revision }
    // What is neither durable nor a job's is not kept.
    const entry = publication.durable || body.jobId !== undefined ? this.#entry(publication) : { publication, bytes: 0 }
    if (!publication.durable) return entry
    this.#entries.push(entry)
    this.#entryBytes += entry.bytes
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
    return [this.#number({ ...progress.publication, jobId: id, text: { source: text, from: told, to: text.end } }).publication]
  }

  /** A progress after an end that was only presumed is not passed on, but its text is part of what the real end ends. */
  #keepText ({ id, record }: Job<JobRecord>, body: string, { delta, textAt }: PublishOptions): void {
    if (delta === undefined) return
    record.text ??= new RunningText(this.#bounds.maxTextUnits)
    record.text.append(delta)
    record.progress ??= this.#entry({
      // Where its end is kept it comes before that.
      body, durable: false, revision: record.end?.publication.revision ?? this.#revision, jobId: id, ...(textAt !== undefined && { textAt })
    })
    this.#reweigh(record)
  }

  /** A job is no longer remembered: who would need its text can't be recovered any more. */
  #unlearn ({ text, end, bytes }: JobRecord): void {
    this.#jobBytes -= bytes
    if (text === undefined || end === undefined) return
    while (this.#entries[0] !== undefined && this.#entries[0].publication.revision <= end.publication.revision) this.#dropOldest()
  }

  #dropOldest (): void {
    for (const { bytes } of this.#entries.splice(0, 1)) this.#entryBytes -= bytes
  }

  #remember ({ record }: Job<JobRecord>, event: 'start' | 'progress' | 'complete' | 'error', latest: Entry): void {
    if (event === 'start') record.start = latest
    else if (event === 'progress') record.progress = latest
    else record.end = latest
    this.#reweigh(record)
  }

  #reweigh (record: JobRecord): void {
    this.#jobBytes -= record.bytes
    const { start, progress, end, text } = record
    record.bytes = OVERHEAD_BYTES + (start?.bytes ?? 0) + (progress?.bytes ?? 0) + (end?.bytes ?? 0) + (text?.bytes ?? 0)
    this.#jobBytes += record.bytes
  }

  #entry (publication: Publication): Entry {
    return { publication, bytes: this.#weigh(publication) }
  }

  /** V8 may keep a unit of the text in two bytes; the frame is UTF-8, in which an id's unit takes at most three. */
  #weigh ({ body, jobId = '' }: Publication): number {
    const frameBytes = Buffer.byteLength(body) + jobId.length * 3
    const isTwice = frameBytes >= (this.#bounds.deflateFromBytes ?? Infinity)
    return OVERHEAD_BYTES + body.length * 2 + frameBytes + (isTwice ? frameBytes + DEFLATED_OVERHEAD_BYTES : 0)
  }

  #presentState (): Publication[] {
    const state: Array<Publication | undefined> = []
    const ended = this.#jobs?.latestEnded?.record
    // A progress without its end would be taken for that of a job that runs.
    if (ended?.end !== undefined) state.push(withWholeText(ended), ended.end.publication)
    for (const { record } of this.#jobs?.running ?? []) state.push(record.start?.publication, wholeProgress(record))
    return state.filter((publication) => publication !== undefined)
  }

  /** Behind what was missed: the newest progress of each running job, and the text of each that ended meanwhile. */
  #progressOf (missed: readonly Publication[]): Publication[] {
    const state: Array<Publication | undefined> = []
    for (const { record } of this.#jobs?.ended ?? []) {
      if (record.end !== undefined && missed.includes(record.end.publication)) state.push(withWholeText(record))
    }
    for (const { record } of this.#jobs?.running ?? []) state.push(wholeProgress(record))
    return state.filter((publication) => publication !== undefined)
  }

  #inOrder (publications: Publication[]): Publication[] {
    return publications.sort((a, b) => a.revision - b.revision)
  }
}

/** Lets go of what a job left. Of one of which more may come its text's length stays, and a progress to tell it with. */
function strip (job: Job<JobRecord>): void {
  const { record } = job
  record.start = record.end = undefined
  if (record.text !== undefined && mayGoOn(job)) record.text.shed()
  else record.progress = record.text = undefined
}

/** The newest progress with all of the text that is kept. */
function wholeProgress ({ progress, text }: JobRecord): Publication | undefined {
  if (progress === undefined || text === undefined) return progress?.publication
  return { ...progress.publication, text: { source: text, from: 0, to: text.end } }
}

/** The same, only if there is text: behind an end the numbers alone tell nothing. */
function withWholeText (record: JobRecord): Publication | undefined {
  return record.text === undefined ? undefined : wholeProgress(record)
}
