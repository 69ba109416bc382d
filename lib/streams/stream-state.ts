import { SessionJobs, type DropReason } from './session-jobs.js'
import { JobText } from './job-text.js'
import type { Joined, Ownership, Position, Publication, PublishOptions, Stream, TextSpan, RecoveryFailure } from './broker.js'
import type { Evictions } from './evictions.js'
import { newJobId } from './job-id.js'
import { UNIT_BYTES, type KeptPublication, type Message, type PublicationFactory } from './kept-publication.js'
import { StreamJob } from './stream-job.js'

/** The limits of one stream that the app's options set. */
export interface StreamLimits {
  /** Messages and bytes that one stream may keep. */
  readonly maxMessages: number
  readonly maxBytes: number
  /** UTF-16 units of text that one job may keep. */
  readonly maxTextUnits: number
  /** Messages of this many bytes or more are kept as two frames, one of them deflated. @default Infinity */
  readonly deflateFromBytes?: number
}

export interface StreamBounds extends StreamLimits {
  /** Bytes that one message may take. */
  readonly maxMessageBytes: number
  /** Bytes that a stream with its messages and jobs may take. */
  readonly maxStreamBytes: number
}

/** What a publish did besides: for brokers with several nodes. */
interface SideEffects {
  /** The node that owned the job until now. Absent if the owner did not change. */
  readonly disowned?: string | undefined
  /** Length of the text that was received of the job. Absent if it has no text. */
  readonly textEnd?: number | undefined
}

/** The accepted publications, in the order in which they must be delivered; or why the message was refused. */
export type Accepted = SideEffects & (
  | { readonly publications: readonly Publication[], readonly jobId?: string }
  | { readonly dropped: DropReason }
)

/** Estimated memory of a stream without its content, in bytes. Measured: 530 bytes. */
const STREAM_BYTES = 640
/** A stream over its limit is shrunk to this share of the limit, so that not every publish has to shrink it. */
const SHRINK_TO = 7 / 8

/** What all streams of a broker share. */
export interface StreamContext {
  readonly bounds: StreamBounds
  readonly factory: PublicationFactory
  readonly evictions: Evictions
}

/** The state of one stream: its numbering, its latest messages and its jobs. */
export class StreamState {
  readonly epoch: string
  seq = 0
  readonly #bounds: StreamBounds
  readonly #factory: PublicationFactory
  readonly #evictions: Evictions
  /** Offset at which a text begins if its job may have started before the stream was forgotten. */
  readonly #lostUnits: number
  /** Estimated memory of the stream without its content. */
  readonly #baseBytes: number
  #revision = 0
  /** The latest durable messages without a gap, oldest first. */
  #entries: KeptPublication[] = []
  #entryBytes = 0
  #jobs: SessionJobs<StreamJob> | undefined
  #jobBytes = 0

  constructor (stream: Stream, epoch: string, { bounds, factory, evictions }: StreamContext, lostUnits = 0) {
    this.epoch = epoch
    this.#bounds = bounds
    this.#factory = factory
    this.#evictions = evictions
    this.#lostUnits = lostUnits
    this.#baseBytes = STREAM_BYTES + stream.length * UNIT_BYTES
  }

  /** Upper estimate of the memory that it takes, in bytes. */
  get bytes (): number {
    const kept = this.#entryBytes + this.#jobBytes
    return kept === 0 ? 0 : kept + this.#baseBytes
  }

  get currentJob (): string | undefined {
    return this.#jobs?.newestRunning?.id
  }

  /** Whether more reports of any job may follow. These must match the earlier ones. */
  get hasOpenJobs (): boolean {
    return this.#jobs?.hasOpenJobs === true
  }

  /** Length of the longest text to which more may be appended, in UTF-16 units. Includes the part that is no longer kept. */
  get openUnits (): number {
    return (this.#jobs?.open ?? []).reduce((longest, { text }) => Math.max(longest, text?.end ?? 0), 0)
  }

  /** @param node Name of the publishing node. Not needed if there is only one node. */
  publish (body: string, options: PublishOptions, node?: string): Accepted {
    const accepted = this.#accept(body, options, node)
    const { maxStreamBytes } = this.#bounds
    if (this.bytes > maxStreamBytes) this.shrink(maxStreamBytes * SHRINK_TO)
    return accepted
  }

  /** Makes a node the owner of a running job. Returns the node that owned it before, or false if the job is not running. */
  adopt (jobId: string, node: string): { disowned: string | undefined } | false {
    return this.#jobs?.adopt(jobId, node) ?? false
  }

  /** Gives up a job. Returns whether the node owned it. */
  release (jobId: string, node: string): boolean {
    return this.#jobs?.release(jobId, node) === true
  }

  /** Returns the owner of a running job, and the ownership that an `orphaned` reports. */
  ownerOf (jobId: string): { owner: string | undefined, ownership: Ownership } | undefined {
    return this.#jobs?.findRunning(jobId)
  }

  #accept (body: string, options: PublishOptions, node: string | undefined): Accepted {
    const { durable, job: transition, shortForm } = options
    if (transition === undefined) return { publications: [this.#addMessage(body, durable)] }
    this.#jobs ??= new SessionJobs((id = newJobId()) => new StreamJob(id), (job) => { this.#handleForgotten(job) })
    const previous = transition.event === 'progress' ? undefined : this.#jobs.latestEnded
    const gap = this.#gapBefore(options)
    if (gap !== undefined) return { dropped: 'gap', textEnd: gap }
    const verdict = this.#jobs.apply(transition, node)
    const { disowned } = verdict
    if ('dropped' in verdict) {
      if (verdict.presumed !== undefined) this.#keepLateText(verdict.presumed, body, options)
      return { dropped: verdict.dropped, disowned }
    }
    const { job, supersedes } = verdict
    const jobId = job.id
    if (transition.event === 'progress') {
      const latest = this.#createPublication({ body, durable: false, jobId, text: this.#appendText(job, options) }, shortForm)
      const kept = this.#keepable(latest)
      if (kept !== undefined) job.keepProgress(kept)
      this.#updateBytes(job)
      return { publications: [latest], jobId, disowned, textEnd: job.text?.received }
    }
    const before = transition.presumed === true ? undefined : this.#unpublishedText(job)
    const latest = this.#createPublication({ body, durable, jobId, supersedes: supersedes || undefined }, shortForm)
    const kept = this.#keepable(latest)
    if (durable) this.#addEntry(kept)
    if (transition.event === 'start') job.begin(kept)
    else job.finish(kept)
    this.#updateBytes(job)
    if (previous !== undefined && previous !== this.#jobs.latestEnded && !this.#hasEntry(previous.end)) this.#discardUnreachable(previous)
    return { publications: before === undefined ? [latest] : [before, latest], jobId, disowned }
  }

  /** Returns whether a durable publication is kept in full, as a message or as part of its job. */
  keeps (publication: Publication): boolean {
    if (this.#entries.at(-1) === publication) return true
    const jobs = [...this.#jobs?.running ?? [], ...this.#jobs?.ended ?? []]
    return jobs.some(({ start, end }) => start === publication || end === publication)
  }

  join (since: Position | undefined): Joined {
    const { epoch, seq } = this
    const head = { epoch, seq, revision: this.#revision }
    const outcome = since === undefined ? 'new' : this.#missed(since)
    if (typeof outcome === 'string') return { ...head, recovered: false, reason: outcome, replay: inOrder(this.#snapshot()) }
    return { ...head, recovered: true, replay: inOrder([...this.#recoveredProgress(outcome), ...outcome]) }
  }

  /** Discards the messages. Running jobs and the latest end stay. With `evictions`, counts what it discards. */
  trim (evictions?: Evictions): void {
    evictions?.add('messages', this.#entries.length)
    if (this.#entries.length > 0) this.#entries = []
    this.#entryBytes = 0
    for (const job of this.#jobs?.ended ?? []) {
      if (job === this.#jobs?.latestEnded) continue
      job.discard(evictions)
      this.#updateBytes(job)
    }
  }

  /**
   * Discards everything but the numbering, the open jobs and the lengths of their texts. Later reports of these jobs must match
   * the earlier ones. With `evictions`, counts what it discards.
   */
  clear (evictions?: Evictions): void {
    this.trim(evictions)
    const latest = this.#jobs?.latestEnded
    if (latest?.end !== undefined) evictions?.add('ends')
    latest?.discard(evictions)
    this.#jobs?.forgetEnded()
    for (const job of this.#jobs?.open ?? []) {
      job.discard(evictions)
      job.bytes = 0
    }
    this.#jobBytes = 0
  }

  /**
   * Evicts until at most `maxBytes` are left or nothing more can be evicted. It discards texts first, then messages. Then it
   * reduces the running jobs' reports and the latest end to their short forms, and last discards the running jobs'
   * reports. The latest end, or its short form, always stays.
   */
  shrink (maxBytes: number): void {
    const evictions = this.#evictions
    const latest = this.#jobs?.latestEnded
    const running = this.#jobs?.running ?? []
    const isTooMuch = (): boolean => this.bytes > maxBytes
    const each = (jobs: readonly StreamJob[], change: (job: StreamJob) => void): void => {
      for (const job of jobs) {
        if (!isTooMuch()) return
        change(job)
        this.#updateBytes(job)
      }
    }
    // First the texts that only reconnecting clients would get, then the others, longest first.
    const others = [...this.#jobs?.ended ?? []].filter((job) => job !== latest)
    const byLength = [...(latest === undefined ? [] : [latest]), ...running].sort((a, b) => b.textUnits - a.textUnits)
    each([...others, ...byLength], (job) => { job.discardText(evictions) })
    while (isTooMuch() && this.#entries.length > 0) {
      evictions.add('messages')
      this.#dropOldest()
    }
    each(running, (job) => { job.shorten(evictions) })
    each(latest === undefined ? [] : [latest], (job) => {
      if (job.end?.shortForm === undefined) return
      job.end = job.end.shortForm
      evictions.add('shortened')
    })
    // The rest of these jobs can't be evicted, so it counts nothing, as in `clear`.
    for (const job of running) {
      if (!isTooMuch()) return
      job.discard(evictions)
      this.#jobBytes -= job.bytes
      job.bytes = 0
    }
  }

  /** Returns the messages after a position, or why it can't. */
  #missed (since: Position): readonly Publication[] | RecoveryFailure {
    // A `seq` that is not a number fails this check too.
    if (since.epoch !== this.epoch || !(Number.isInteger(since.seq) && since.seq >= 0 && since.seq <= this.seq)) return 'restarted'
    const missed = this.seq - since.seq
    if (missed > this.#bounds.maxMessages) return 'overflow'
    if (missed > this.#entries.length) return 'expired'
    return this.#entries.slice(this.#entries.length - missed)
  }

  #createPublication (message: Message, shortForm?: () => string): KeptPublication {
    return this.#factory.make(message, ++this.#revision, message.durable ? ++this.seq : undefined, shortForm)
  }

  /** Adds a message that is not about a job. */
  #addMessage (body: string, durable: boolean): KeptPublication {
    const message = this.#createPublication({ body, durable })
    if (!durable) return message
    // It would evict all other messages and then itself.
    const isTooLarge = message.bytes > Math.min(this.#bounds.maxBytes, this.#bounds.maxMessageBytes)
    if (isTooLarge) this.#countEvicted(message)
    this.#addEntry(isTooLarge ? undefined : message)
    return message
  }

  /** Returns what can be kept of a publication: all of it, its short form or nothing. */
  #keepable (publication: KeptPublication): KeptPublication | undefined {
    if (publication.bytes <= this.#bounds.maxMessageBytes) return publication
    if (publication.shortForm === undefined) this.#countEvicted(publication)
    else this.#evictions.add('shortened')
    return publication.shortForm
  }

  /** Counts a message that is not kept as evicted, unless the stream keeps no messages anyway. */
  #countEvicted ({ durable }: KeptPublication): void {
    if (durable && this.#bounds.maxMessages > 0) this.#evictions.add('messages')
  }

  /** Adds a message to the latest ones. One that is not kept leaves a gap, which makes all earlier messages useless. */
  #addEntry (message: KeptPublication | undefined): void {
    const { maxMessages, maxBytes } = this.#bounds
    if (message === undefined) {
      this.#evictions.add('messages', this.#entries.length)
      while (this.#entries.length > 0) this.#dropOldest()
      return
    }
    this.#entries.push(message)
    this.#entryBytes += message.bytes
    while (this.#entries.length > maxMessages || this.#entryBytes > maxBytes) this.#dropOldest()
  }

  #hasEntry (publication: KeptPublication | undefined): boolean {
    const first = this.#entries[0]
    return first !== undefined && publication !== undefined && publication.revision >= first.revision
  }

  /** Returns the length of a job's text if it lacks a part before a piece that is published at an offset. */
  #gapBefore ({ job: transition, from, truncated = false }: PublishOptions): number | undefined {
    if (from === undefined || truncated || transition?.jobId === undefined) return undefined
    if (this.#jobs?.findEnded(transition.jobId) !== undefined) return undefined
    const received = this.#jobs?.findRunning(transition.jobId)?.text?.received ?? 0
    return from > received ? received : undefined
  }

  /**
   * Appends to a job's text, and returns the span that the progress adds. Once a job has text, each progress has a span, even
   * an empty one, so that it can replace an older progress that is still queued.
   */
  #appendText (job: StreamJob, { delta, from }: PublishOptions): TextSpan | undefined {
    if (delta !== undefined) job.text ??= from === undefined ? this.#newText(job) : new JobText(this.#bounds.maxTextUnits)
    if (job.text === undefined) return undefined
    if (from !== undefined && from > job.text.received) job.text.skipTo(from)
    job.text.append(delta?.slice(from === undefined ? 0 : job.text.received - from) ?? '')
    // If the beginning of the text was lost, the first span begins at 0, and its slice is marked as `truncated`.
    const begin = job.publishedEnd
    job.publishedEnd = job.text.end
    return { source: job.text, from: begin, to: job.publishedEnd }
  }

  #newText ({ hasStarted }: StreamJob): JobText {
    return new JobText(this.#bounds.maxTextUnits, hasStarted ? 0 : this.#lostUnits)
  }

  /**
   * Returns the unpublished text as a progress of its own, to be delivered before the end. That is half of a surrogate pair
   * whose other half never came, and text that came after a presumed end.
   */
  #unpublishedText (job: StreamJob): Publication | undefined {
    const { id: jobId, progress, text, publishedEnd } = job
    if (progress === undefined || text === undefined) return undefined
    text.append('', true)
    if (text.end === publishedEnd) return undefined
    job.publishedEnd = text.end
    return this.#createPublication({ body: progress.body, durable: false, jobId, text: { source: text, from: publishedEnd, to: text.end } })
  }

  /** Keeps the text of a progress that comes after a presumed end. It is published before the real end. */
  #keepLateText (job: StreamJob, body: string, { delta, from, shortForm }: PublishOptions): void {
    if (delta === undefined) return
    job.text ??= this.#newText(job)
    if (from !== undefined && from > job.text.received) return
    job.text.append(from === undefined ? delta : delta.slice(job.text.received - from))
    if (job.progress === undefined) {
      // It shares the revision of the presumed end. In a replay, a progress precedes an end with the same revision.
      const revision = job.end?.revision ?? this.#revision
      job.progress = this.#keepable(this.#factory.make({ body, durable: false, jobId: job.id }, revision, undefined, shortForm))
    }
    this.#updateBytes(job)
  }

  /** Handles that a job is no longer remembered. Subscribers that would need its text can't be recovered any more. */
  #handleForgotten ({ text, end, bytes }: StreamJob): void {
    this.#jobBytes -= bytes
    if (text === undefined || end === undefined) return
    while (this.#entries[0] !== undefined && this.#entries[0].revision <= end.revision) this.#dropOldest()
  }

  #dropOldest (): void {
    for (const entry of this.#entries.splice(0, 1)) {
      this.#entryBytes -= entry.bytes
      const job = entry.jobId === undefined ? undefined : this.#jobs?.findEnded(entry.jobId)
      if (job?.end === entry && job !== this.#jobs?.latestEnded) this.#discardUnreachable(job)
    }
  }

  /** Discards an ended job that no replay can contain: another job ended later, and its end is not among the messages. */
  #discardUnreachable (job: StreamJob): void {
    if (job.isOpen) return
    job.discard()
    this.#updateBytes(job)
  }

  #updateBytes (job: StreamJob): void {
    this.#jobBytes -= job.bytes
    job.bytes = job.estimateBytes()
    this.#jobBytes += job.bytes
  }

  #snapshot (): Publication[] {
    const state: Array<Publication | undefined> = []
    const ended = this.#jobs?.latestEnded
    // Without the end, clients would take the progress for that of a running job.
    if (ended?.end !== undefined) state.push(ended.wholeText, ended.end)
    for (const job of this.#jobs?.running ?? []) state.push(job.start, job.wholeProgress)
    return state.filter((publication) => publication !== undefined)
  }

  /** Returns what a recovery adds to the missed messages: progress of running jobs, and texts of jobs whose end was missed. */
  #recoveredProgress (missed: readonly Publication[]): Publication[] {
    const state: Array<Publication | undefined> = []
    for (const job of this.#jobs?.ended ?? []) if (job.end !== undefined && missed.includes(job.end)) state.push(job.wholeText)
    for (const job of this.#jobs?.running ?? []) state.push(job.wholeProgress)
    return state.filter((publication) => publication !== undefined)
  }
}

/** Sorts by revision. Publications with the same revision keep their order. */
function inOrder (publications: Publication[]): Publication[] {
  return publications.sort((a, b) => a.revision - b.revision)
}
