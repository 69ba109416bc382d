import { Job, SessionJobs, type DropReason } from '../jobs/job.js'
import { RunningText } from '../jobs/text.js'
import type { Joined, Position, Publication, PublishOptions, Stream, TextSpan, Unrecovered } from './broker.js'
import { newJobId } from './job-id.js'
import { LatestProgress } from './latest-progress.js'

export interface StreamBounds {
  /** Messages and bytes that are kept of one stream. */
  readonly maxMessages: number
  readonly maxBytes: number
  /** UTF-16 units that are kept of one job's text. */
  readonly maxTextUnits: number
  /** Messages of so many bytes are kept as two frames, one of them deflated. @default Infinity */
  readonly deflateFromBytes?: number
}

/** A publication's fields that do not depend on its place in the stream. */
type Message = Omit<Publication, 'revision' | 'seq' | 'made'>

/** A publication as it may be kept. A class, because there are very many: all have the same fields in the same order. */
class KeptPublication implements Publication {
  readonly body: string
  readonly durable: boolean
  readonly revision: number
  readonly seq: number | undefined
  readonly jobId: string | undefined
  readonly supersedes: boolean | undefined
  readonly textAt: number | undefined
  readonly text: TextSpan | undefined
  made: unknown = undefined
  /** At least what it takes in memory while it is kept; measured once. */
  readonly bytes: number

  constructor ({ body, durable, jobId, supersedes, textAt, text }: Message, revision: number, seq: number | undefined, bytes: number) {
    this.body = body
    this.durable = durable
    this.revision = revision
    this.seq = seq
    this.jobId = jobId
    this.supersedes = supersedes
    this.textAt = textAt
    this.text = text
    this.bytes = bytes
  }
}

/** A job, and what it leaves for those who come later. */
class StreamJob extends Job {
  start: KeptPublication | undefined = undefined
  progress: KeptPublication | LatestProgress | undefined = undefined
  end: KeptPublication | undefined = undefined
  text: RunningText | undefined = undefined
  /** How much of the text was passed on. */
  told = 0
  /** What all this costs. */
  bytes = 0

  /** The first is kept as it is: many jobs have no other. */
  keep (latest: KeptPublication): void {
    if (this.progress === undefined) this.progress = latest
    else if (this.progress instanceof LatestProgress) this.progress.write(latest)
    else this.progress = new LatestProgress(latest)
  }

  /** Behind an end the numbers of a progress tell nothing; its text does. */
  finish (end: KeptPublication): void {
    this.end = end
    if (this.text === undefined) this.progress = undefined
  }

  /** Lets go of what it left. If more may come its text's length stays, and a progress to tell it with. */
  strip (): void {
    this.start = this.end = undefined
    if (this.text !== undefined && this.mayGoOn) {
      this.text.shed()
      if (this.progress instanceof LatestProgress) this.progress.trim()
    } else {
      this.progress = this.text = undefined
    }
  }

  /** The newest progress, as it is now, with all of the text that is kept. */
  get wholeProgress (): Publication | undefined {
    const { id: jobId, progress, text: source } = this
    if (progress === undefined) return undefined
    const { body, revision, textAt } = progress
    return { body, durable: false, revision, jobId, textAt, text: source && { source, from: 0, to: source.end } }
  }

  /** The same, only if there is text. */
  get wholeText (): Publication | undefined {
    return this.text === undefined ? undefined : this.wholeProgress
  }
}

/** A publication that was accepted, with what must go out right before it; or why it was not. */
export type Accepted =
  | { readonly publications: readonly Publication[], readonly jobId?: string }
  | { readonly dropped: DropReason }

/**
 * What a kept publication costs beside its characters: objects, strings' heads, a buffer, the fields that are written into
 * the frame. 530 bytes were measured with one frame, and 770 with two.
 */
const DURABLE_BYTES = 576
const DEFLATED_BYTES = 256
/** The same without a frame: 120 bytes were measured, and 200 more while its text is in the pieces that it was made of. */
const EPHEMERAL_BYTES = 384
/** What a job costs, and a stream that keeps anything, beside what they keep: 170 and 530 bytes were measured. */
const JOB_BYTES = 320
const STREAM_BYTES = 640
/** V8 may keep a unit of a text or of a name in two bytes. In UTF-8, as in a frame, it takes at most three. */
const UNIT_BYTES = 2
const UNIT_FRAME_BYTES = 3

/** One stream: its numbers, its latest messages, and the state of its jobs. */
export class StreamState {
  readonly epoch: string
  seq = 0
  readonly #bounds: StreamBounds
  /** What it costs beside what it keeps. */
  readonly #ownBytes: number
  #revision = 0
  /** The latest durable messages without a hole, oldest first. */
  #entries: KeptPublication[] = []
  #entryBytes = 0
  #jobs: SessionJobs<StreamJob> | undefined
  #jobBytes = 0

  constructor (stream: Stream, epoch: string, bounds: StreamBounds) {
    this.epoch = epoch
    this.#bounds = bounds
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

  publish (body: string, options: PublishOptions): Accepted {
    const { durable, job: transition, textAt, delta } = options
    if (transition === undefined) return { publications: [this.#number({ body, durable })] }
    this.#jobs ??= new SessionJobs((id = newJobId()) => new StreamJob(id), (job) => { this.#unlearn(job) })
    const verdict = this.#jobs.apply(transition)
    if ('dropped' in verdict) {
      if (verdict.presumed !== undefined) this.#keepText(verdict.presumed, body, options)
      return { dropped: verdict.dropped }
    }
    const { job, supersedes } = verdict
    const jobId = job.id
    if (transition.event === 'progress') {
      const latest = this.#number({ body, durable: false, jobId, textAt, text: this.#extend(job, delta) })
      job.keep(latest)
      this.#reweigh(job)
      return { publications: [latest], jobId }
    }
    const before = transition.presumed === true ? undefined : this.#heldBack(job)
    const latest = this.#number({ body, durable, jobId, supersedes: supersedes || undefined })
    if (transition.event === 'start') job.start = latest
    else job.finish(latest)
    this.#reweigh(job)
    return { publications: before === undefined ? [latest] : [before, latest], jobId }
  }

  join (since: Position | undefined): Joined {
    const { epoch, seq } = this
    const head = { epoch, seq, revision: this.#revision }
    const outcome = since === undefined ? 'new' : this.#missed(since)
    if (typeof outcome === 'string') return { ...head, recovered: false, reason: outcome, replay: inOrder(this.#presentState()) }
    return { ...head, recovered: true, replay: inOrder([...this.#progressOf(outcome), ...outcome]) }
  }

  /** Lets go of its messages. The running jobs and the latest end stay. */
  settle (): void {
    if (this.#entries.length > 0) this.#entries = []
    this.#entryBytes = 0
    for (const job of this.#jobs?.ended ?? []) {
      if (job === this.#jobs?.latestEnded) continue
      job.strip()
      this.#reweigh(job)
    }
  }

  /** Lets go of everything but its numbers, and of which jobs more may come and how long their texts are: what they say next must fit. */
  empty (): void {
    this.settle()
    this.#jobs?.forgetEnded()
    for (const job of this.#jobs?.open ?? []) {
      job.strip()
      job.bytes = 0
    }
    this.#jobBytes = 0
  }

  /** What came after a position, or why that can't be told. */
  #missed (since: Position): readonly Publication[] | Unrecovered {
    // Written so that what is no number at all is no position either.
    if (since.epoch !== this.epoch || !(Number.isInteger(since.seq) && since.seq >= 0 && since.seq <= this.seq)) return 'restarted'
    const missed = this.seq - since.seq
    if (missed > this.#bounds.maxMessages) return 'overflow'
    if (missed > this.#entries.length) return 'expired'
    return this.#entries.slice(this.#entries.length - missed)
  }

  #number (message: Message): KeptPublication {
    const { durable } = message
    const entry = new KeptPublication(message, ++this.#revision, durable ? ++this.seq : undefined, this.#weigh(message))
    if (!durable) return entry
    this.#entries.push(entry)
    this.#entryBytes += entry.bytes
    while (this.#entries.length > this.#bounds.maxMessages || this.#entryBytes > this.#bounds.maxBytes) this.#dropOldest()
    return entry
  }

  /** A progress of a job that has text always speaks of it, so that one without news can take an older one's place. */
  #extend (job: StreamJob, delta: string | undefined): TextSpan | undefined {
    if (delta !== undefined) job.text ??= new RunningText(this.#bounds.maxTextUnits)
    if (job.text === undefined) return undefined
    const { text, offset } = job.text.append(delta ?? '')
    job.told = job.text.end
    return { source: job.text, from: offset, to: offset + text.length }
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
  #keepText (job: StreamJob, body: string, { delta, textAt }: PublishOptions): void {
    if (delta === undefined) return
    job.text ??= new RunningText(this.#bounds.maxTextUnits)
    job.text.append(delta)
    if (job.progress === undefined) {
      const message = { body, durable: false, jobId: job.id, textAt }
      // With its end's place, where that is kept: of two in one place the progress comes first.
      job.progress = new KeptPublication(message, job.end?.revision ?? this.#revision, undefined, this.#weigh(message))
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
    for (const { bytes } of this.#entries.splice(0, 1)) this.#entryBytes -= bytes
  }

  #reweigh (job: StreamJob): void {
    this.#jobBytes -= job.bytes
    const { start, progress, end, text } = job
    job.bytes = JOB_BYTES + job.id.length * UNIT_BYTES + (start?.bytes ?? 0) + (progress?.bytes ?? 0) + (end?.bytes ?? 0) + (text?.bytes ?? 0)
    this.#jobBytes += job.bytes
  }

  #weigh ({ body, durable, jobId = '' }: Message): number {
    // It is framed anew for each who comes late, and no frame is kept.
    if (!durable) return EPHEMERAL_BYTES + body.length * UNIT_BYTES
    const frameBytes = Buffer.byteLength(body) + jobId.length * UNIT_FRAME_BYTES
    const isTwice = frameBytes >= (this.#bounds.deflateFromBytes ?? Infinity)
    return DURABLE_BYTES + body.length * UNIT_BYTES + frameBytes + (isTwice ? frameBytes + DEFLATED_BYTES : 0)
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
