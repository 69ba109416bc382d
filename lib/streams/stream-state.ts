import { SessionJobs, type DropReason } from './session-jobs.js'
import { JobText } from './job-text.js'
import type { Joined, Position, Publication, PublishOptions, Stream, Stub, TextSpan, RecoveryFailure } from './broker.js'
import type { Evictions } from './evictions.js'
import { newJobId } from './job-id.js'
import { UNIT_BYTES, type KeptPublication, type Message, type Scales } from './kept-publication.js'
import { StreamJob } from './stream-job.js'

/** What the app's options say of one stream. */
export interface StreamLimits {
  /** Messages and bytes that are kept of one stream. */
  readonly maxMessages: number
  readonly maxBytes: number
  /** UTF-16 units that are kept of one job's text. */
  readonly maxTextUnits: number
  /** Messages of so many bytes are kept as two frames, one of them deflated. @default Infinity */
  readonly deflateFromBytes?: number
}

export interface StreamBounds extends StreamLimits {
  /** Bytes that one message may take. */
  readonly maxMessageBytes: number
  /** Bytes that a stream may take with its messages and all that its jobs left. */
  readonly maxStreamBytes: number
}

/** A publication that was accepted, with what must go out right before it; or why it was not. */
export type Accepted =
  | { readonly publications: readonly Publication[], readonly jobId?: string }
  | { readonly dropped: DropReason }

/** What a stream that keeps anything costs beside that: 530 bytes were measured. */
const STREAM_BYTES = 640
/** A stream that has more than it may is brought down to such a part of it, so that not every publish has to. */
const SHRUNK = 7 / 8

/** What all streams of a broker have in common. */
export interface StreamCommons {
  readonly bounds: StreamBounds
  readonly scales: Scales
  readonly evictions: Evictions
}

/** One stream: its numbers, its latest messages, and the state of its jobs. */
export class StreamState {
  readonly epoch: string
  seq = 0
  readonly #bounds: StreamBounds
  readonly #scales: Scales
  readonly #evictions: Evictions
  /** Where texts begin whose jobs may have begun in an earlier life of the stream, which is forgotten. */
  readonly #lostUnits: number
  /** What it costs beside what it keeps. */
  readonly #ownBytes: number
  #revision = 0
  /** The latest durable messages without a hole, oldest first. */
  #entries: KeptPublication[] = []
  #entryBytes = 0
  #jobs: SessionJobs<StreamJob> | undefined
  #jobBytes = 0

  constructor (stream: Stream, epoch: string, { bounds, scales, evictions }: StreamCommons, lostUnits = 0) {
    this.epoch = epoch
    this.#bounds = bounds
    this.#scales = scales
    this.#evictions = evictions
    this.#lostUnits = lostUnits
    this.#ownBytes = STREAM_BYTES + stream.length * UNIT_BYTES
  }

  /** What it keeps, in bytes: never less than that takes in memory. */
  get bytes (): number {
    const kept = this.#entryBytes + this.#jobBytes
    return kept === 0 ? 0 : kept + this.#ownBytes
  }

  get currentJob (): string | undefined {
    return this.#jobs?.newestRunning?.id
  }

  /** Whether more may come of a job: what it says next must fit to what it said before. */
  get mayGoOn (): boolean {
    return this.#jobs?.mayGoOn === true
  }

  /** UTF-16 units of the longest text of which more may come, those that are no longer kept included. */
  get openUnits (): number {
    return (this.#jobs?.open ?? []).reduce((longest, { text }) => Math.max(longest, text?.end ?? 0), 0)
  }

  publish (body: string, options: PublishOptions): Accepted {
    const accepted = this.#accept(body, options)
    const { maxStreamBytes } = this.#bounds
    if (this.bytes > maxStreamBytes) this.shrink(maxStreamBytes * SHRUNK)
    return accepted
  }

  #accept (body: string, options: PublishOptions): Accepted {
    const { durable, job: transition, textAt, delta, stub } = options
    if (transition === undefined) return { publications: [this.#append(body, durable)] }
    this.#jobs ??= new SessionJobs((id = newJobId()) => new StreamJob(id), (job) => { this.#unlearn(job) })
    const previous = transition.event === 'progress' ? undefined : this.#jobs.latestEnded
    const verdict = this.#jobs.apply(transition)
    if ('dropped' in verdict) {
      if (verdict.presumed !== undefined) this.#keepText(verdict.presumed, body, options)
      return { dropped: verdict.dropped }
    }
    const { job, supersedes } = verdict
    const jobId = job.id
    if (transition.event === 'progress') {
      const latest = this.#number({ body, durable: false, jobId, textAt, text: this.#extend(job, delta) }, stub)
      const kept = this.#keepable(latest)
      if (kept !== undefined) job.keep(kept)
      this.#reweigh(job)
      return { publications: [latest], jobId }
    }
    const before = transition.presumed === true ? undefined : this.#heldBack(job)
    const latest = this.#number({ body, durable, jobId, supersedes: supersedes || undefined }, stub)
    const kept = this.#keepable(latest)
    if (durable) this.#enter(kept)
    if (transition.event === 'start') job.begin(kept)
    else job.finish(kept)
    this.#reweigh(job)
    if (previous !== undefined && previous !== this.#jobs.latestEnded && !this.#hasEntry(previous.end)) this.#release(previous)
    return { publications: before === undefined ? [latest] : [before, latest], jobId }
  }

  /** Whether all of a durable publication is kept, as a message or as the state of its job. */
  keeps (publication: Publication): boolean {
    if (this.#entries.at(-1) === publication) return true
    const jobs = [...this.#jobs?.running ?? [], ...this.#jobs?.ended ?? []]
    return jobs.some(({ start, end }) => start === publication || end === publication)
  }

  join (since: Position | undefined): Joined {
    const { epoch, seq } = this
    const head = { epoch, seq, revision: this.#revision }
    const outcome = since === undefined ? 'new' : this.#missed(since)
    if (typeof outcome === 'string') return { ...head, recovered: false, reason: outcome, replay: inOrder(this.#presentState()) }
    return { ...head, recovered: true, replay: inOrder([...this.#progressOf(outcome), ...outcome]) }
  }

  /** Lets go of its messages. The running jobs and the latest end stay. Counts what goes where that is an eviction. */
  settle (evictions?: Evictions): void {
    evictions?.add('messages', this.#entries.length)
    if (this.#entries.length > 0) this.#entries = []
    this.#entryBytes = 0
    for (const job of this.#jobs?.ended ?? []) {
      if (job === this.#jobs?.latestEnded) continue
      job.strip(evictions)
      this.#reweigh(job)
    }
  }

  /** Lets go of everything but its numbers, and of which jobs more may come and how long their texts are: what they say next must fit. */
  empty (evictions?: Evictions): void {
    this.settle(evictions)
    const latest = this.#jobs?.latestEnded
    if (latest?.end !== undefined) evictions?.add('ends')
    latest?.strip(evictions)
    this.#jobs?.forgetEnded()
    for (const job of this.#jobs?.open ?? []) {
      job.strip(evictions)
      job.bytes = 0
    }
    this.#jobBytes = 0
  }

  /**
   * Evicts until so many bytes are left, or nothing that can go: texts, then messages, then of the running jobs' reports and
   * of the latest end all but their stubs, then what running jobs have left. An end, or its stub, stays.
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
        this.#reweigh(job)
      }
    }
    // Those first that only a client which comes back would be sent; the longest of the others.
    const others = [...this.#jobs?.ended ?? []].filter((job) => job !== latest)
    const byLength = [...(latest === undefined ? [] : [latest]), ...running].sort((a, b) => b.textUnits - a.textUnits)
    each([...others, ...byLength], (job) => { job.discardText(evictions) })
    while (isTooMuch() && this.#entries.length > 0) {
      evictions.add('messages')
      this.#dropOldest()
    }
    each(running, (job) => { job.shorten(evictions) })
    each(latest === undefined ? [] : [latest], (job) => {
      if (job.end?.stub === undefined) return
      job.end = job.end.stub
      evictions.add('stubs')
    })
    // What is left of these costs nothing, as with `empty`: it could not be let go of.
    for (const job of running) {
      if (!isTooMuch()) return
      job.strip(evictions)
      this.#jobBytes -= job.bytes
      job.bytes = 0
    }
  }

  /** What came after a position, or why that can't be told. */
  #missed (since: Position): readonly Publication[] | RecoveryFailure {
    // Written so that what is no number at all is no position either.
    if (since.epoch !== this.epoch || !(Number.isInteger(since.seq) && since.seq >= 0 && since.seq <= this.seq)) return 'restarted'
    const missed = this.seq - since.seq
    if (missed > this.#bounds.maxMessages) return 'overflow'
    if (missed > this.#entries.length) return 'expired'
    return this.#entries.slice(this.#entries.length - missed)
  }

  #number (message: Message, stub?: () => Stub): KeptPublication {
    return this.#scales.make(message, ++this.#revision, message.durable ? ++this.seq : undefined, stub)
  }

  /** A message of the app's own. */
  #append (body: string, durable: boolean): KeptPublication {
    const message = this.#number({ body, durable })
    if (!durable) return message
    // Alone it would push out all others, and then itself.
    const isTooLarge = message.bytes > Math.min(this.#bounds.maxBytes, this.#bounds.maxMessageBytes)
    if (isTooLarge) this.#count(message)
    this.#enter(isTooLarge ? undefined : message)
    return message
  }

  /** What of a publication is kept: all of it, or only its stub. */
  #keepable (publication: KeptPublication): KeptPublication | undefined {
    if (publication.bytes <= this.#bounds.maxMessageBytes) return publication
    if (publication.stub === undefined) this.#count(publication)
    else this.#evictions.add('stubs')
    return publication.stub
  }

  /** Counts a message that is not kept. Where no messages are kept, none is evicted. */
  #count ({ durable }: KeptPublication): void {
    if (durable && this.#bounds.maxMessages > 0) this.#evictions.add('messages')
  }

  /** Adds to the latest messages. One that is not kept leaves a hole, so that what came before it is of no use. */
  #enter (message: KeptPublication | undefined): void {
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
  /** A progress of a job that has text always speaks of it, so that one without news can take an older one's place. */
  #extend (job: StreamJob, delta: string | undefined): TextSpan | undefined {
    if (delta !== undefined) job.text ??= this.#newText(job)
    if (job.text === undefined) return undefined
    job.text.append(delta ?? '')
    // Of a text whose beginning is lost the first piece begins at 0, and says so by its `truncated`.
    const from = job.told
    job.told = job.text.end
    return { source: job.text, from, to: job.told }
  }

  #newText ({ hasStarted }: StreamJob): JobText {
    return new JobText(this.#bounds.maxTextUnits, hasStarted ? 0 : this.#lostUnits)
  }

  /**
   * The text that was not passed on yet, as a progress of its own before the end: half a surrogate pair that waited for its
   * other half, and what came after an end that was only presumed.
   */
  #heldBack (job: StreamJob): Publication | undefined {
    const { id: jobId, progress, text, told } = job
    if (progress === undefined || text === undefined) return undefined
    text.append('', true)
    if (text.end === told) return undefined
    job.told = text.end
    const { body, textAt } = progress
    return this.#number({ body, durable: false, jobId, textAt, text: { source: text, from: told, to: text.end } })
  }

  /** A progress after an end that was only presumed is not passed on, but its text is part of what the real end ends. */
  #keepText (job: StreamJob, body: string, { delta, textAt, stub }: PublishOptions): void {
    if (delta === undefined) return
    job.text ??= this.#newText(job)
    job.text.append(delta)
    if (job.progress === undefined) {
      // With its end's place, where that is kept: of two in one place the progress comes first.
      const revision = job.end?.revision ?? this.#revision
      job.progress = this.#keepable(this.#scales.make({ body, durable: false, jobId: job.id, textAt }, revision, undefined, stub))
    }
    this.#reweigh(job)
  }

  /** A job is no longer remembered: who would need its text can't be recovered any more. */
  #unlearn ({ text, end, bytes }: StreamJob): void {
    this.#jobBytes -= bytes
    if (text === undefined || end === undefined) return
    while (this.#entries[0] !== undefined && this.#entries[0].revision <= end.revision) this.#dropOldest()
  }

  #dropOldest (): void {
    for (const entry of this.#entries.splice(0, 1)) {
      this.#entryBytes -= entry.bytes
      const job = entry.jobId === undefined ? undefined : this.#jobs?.findEnded(entry.jobId)
      if (job?.end === entry && job !== this.#jobs?.latestEnded) this.#release(job)
    }
  }

  /** Nobody can be sent anything of this job any more: another one ended later, and its end is not among the messages. */
  #release (job: StreamJob): void {
    if (job.mayGoOn) return
    job.strip()
    this.#reweigh(job)
  }

  #reweigh (job: StreamJob): void {
    this.#jobBytes -= job.bytes
    job.bytes = job.weigh()
    this.#jobBytes += job.bytes
  }

  #presentState (): Publication[] {
    const state: Array<Publication | undefined> = []
    const ended = this.#jobs?.latestEnded
    // A progress without its end would be taken for that of a job that runs.
    if (ended?.end !== undefined) state.push(ended.wholeText, ended.end)
    for (const job of this.#jobs?.running ?? []) state.push(job.start, job.wholeProgress)
    return state.filter((publication) => publication !== undefined)
  }

  /** Behind what was missed: the newest progress of each running job, and the text of each that ended meanwhile. */
  #progressOf (missed: readonly Publication[]): Publication[] {
    const state: Array<Publication | undefined> = []
    for (const job of this.#jobs?.ended ?? []) if (job.end !== undefined && missed.includes(job.end)) state.push(job.wholeText)
    for (const job of this.#jobs?.running ?? []) state.push(job.wholeProgress)
    return state.filter((publication) => publication !== undefined)
  }
}

/** Those in one place stay in the order in which they are given. */
function inOrder (publications: Publication[]): Publication[] {
  return publications.sort((a, b) => a.revision - b.revision)
}
