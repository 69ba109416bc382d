import { addFields } from '../protocol/json.js'
import type { Publication, Published, PublishOptions, Stream, TextSlice, TextSource } from '../streams/broker.js'
import { JobText } from '../streams/job-text.js'
import type { Transition } from '../streams/session-jobs.js'
import type { Clock } from '../util/clock.js'
import { JobMap } from '../util/job-map.js'

/** How long the state of a job is kept after its end, in milliseconds: a store may lose what it accepted last. */
const ENDED_TTL_MS = 60_000
/**
 * Ended jobs of one session whose state is kept. A store remembers 32, and would take an older one, published again, for a new job.
 */
const MAX_ENDED_PER_SESSION = 16
/** Total size of the ended jobs' state, in UTF-16 units. */
const MAX_ENDED_UNITS = 8 * 1024 * 1024
/** Total size of the running jobs' texts, in UTF-16 units. */
const MAX_TEXT_UNITS = 32 * 1024 * 1024

/** A report on a job, as it is published. */
export interface JobReport {
  readonly stream: Stream
  readonly body: string
  readonly options: PublishOptions & { readonly job: Transition }
  /** Length of the text that this node has reported, this report included. Undefined if the report is not recorded yet. */
  readonly reportedUnits?: number
  /**
   * Whether a worker without a node made it. Any node may get the worker's next report, and any node may get this one again. So it is
   * not recorded before the broker has accepted it.
   */
  readonly isRemote?: boolean
}

/** A job that this node owns, and what it has reported on it. */
class OwnJob {
  readonly sessionId: string
  readonly jobId: string
  start: JobReport | undefined
  progress: JobReport | undefined
  end: JobReport | undefined
  /** The text that this node has reported. The broker holds back half of a surrogate pair; this text does not. */
  text: JobText | undefined
  /** Where that text begins in the job's text. Undefined until the broker has returned it. */
  base: number | undefined
  /** Whether all of the text was recorded before it was published, so that its offset is known. */
  isExact = true
  /** Length of the text that the broker has confirmed, and of the text that this node's clients got without the broker. */
  confirmed = 0
  delivered = 0
  /** Whether the broker has rejected a piece of text, and may lack it. */
  isBehind = false
  /** Whether the broker has rejected the start. */
  isLate = false
  endedAt = 0

  constructor (sessionId: string, jobId: string) {
    this.sessionId = sessionId
    this.jobId = jobId
  }

  /** Length of everything that is kept, in UTF-16 units. */
  get units (): number {
    return [this.start, this.progress, this.end].reduce((sum, report) => sum + (report?.body.length ?? 0), this.text?.units ?? 0)
  }

  /** Returns a progress with the job's text from an offset on, or as much of it as is kept. */
  progressFrom (report: JobReport, offset: number): JobReport {
    const { text, base = 0 } = this
    if (text === undefined) return report
    const slice = text.slice(Math.max(0, offset - base))
    const from = slice.offset + base
    return { ...report, reportedUnits: text.end, options: { ...report.options, delta: slice.text, from, truncated: from > offset } }
  }

  /** Returns the reports that bring the job back, if the store has lost it. */
  get seeds (): JobReport[] {
    const { start, end, base } = this
    // Without its offset, a piece of text would be appended to what the store has.
    const progress = this.progress && (base === undefined ? this.progress : this.progressFrom(this.progress, 0))
    return [start, progress, end].filter((report) => report !== undefined).map((report) => {
      return withTransition(report, { jobId: this.jobId, repeated: true })
    })
  }
}

/**
 * Keeps the state of the jobs that this node owns, because the store may lose it: the start, the newest progress and the text
 * of each running job, and the end for a minute. This node is the authority on these jobs.
 */
export class OwnJobs {
  readonly #clock: Clock
  readonly #maxTextUnits: number
  readonly #running = new JobMap<OwnJob>()
  #textUnits = 0
  /** The ended jobs by their ids, and in the order of their ends. */
  readonly #endedById = new JobMap<OwnJob>()
  readonly #ended = new Set<OwnJob>()
  #endedUnits = 0

  constructor ({ clock, maxTextUnits }: { clock: Clock, maxTextUnits: number }) {
    this.#clock = clock
    this.#maxTextUnits = maxTextUnits
  }

  /** Records a report before it is published. Returns it with the offset of its text, if that is known. */
  publishing (sessionId: string, report: JobReport): JobReport {
    const { job: { event, jobId }, delta } = report.options
    if (event !== 'start' && event !== 'progress') return report
    if (jobId === undefined || report.isRemote === true) {
      // Other text may come before or after it, so the offsets of the job, which may be any without an id, are unknown.
      const jobs = jobId === undefined ? this.#running.ofSession(sessionId) : [this.#running.get(sessionId, jobId)]
      if (delta !== undefined) for (const job of jobs) if (job !== undefined) job.isExact = false
      return report
    }
    const known = this.#running.get(sessionId, jobId)
    const job = known ?? this.#add(sessionId, jobId)
    if (event === 'start') {
      job.start ??= report
      return report
    }
    job.progress = withoutText(report)
    if (delta === undefined) return report
    const { from, reportedUnits } = this.#append(job, delta)
    // The broker lacks earlier text, and the place of this one is not known before the outcome of the start is: it follows then.
    if (job.isBehind && job.base === undefined) return withoutText(report)
    return { ...report, reportedUnits, options: { ...report.options, from } }
  }

  /**
   * Records the result of a report. Returns the report to publish next, if the broker lacks some of the job's text before this
   * one.
   */
  published (sessionId: string, report: JobReport, { jobId: resultId, dropped, textEnd }: Published): JobReport | undefined {
    const { job: { event, jobId = resultId }, delta } = report.options
    if (jobId === undefined) return undefined
    const job = this.#running.get(sessionId, jobId)
    if (dropped === 'gap') return closeGap(job, report, textEnd)
    if (dropped === 'ended' || dropped === 'owned') this.forget(sessionId, jobId)
    if (dropped === 'started' && job !== undefined) {
      // It had executed the start that it rejected; otherwise another node has begun the job, and its text.
      if (job.isLate) this.#begin(job)
      else job.isBehind = false
    }
    if (dropped !== undefined) return undefined
    if (event === 'complete' || event === 'error') {
      this.#finish(job ?? this.#endedById.get(sessionId, jobId) ?? new OwnJob(sessionId, jobId), report)
    } else if (event === 'start') {
      const own = report.isRemote === true ? job ?? this.#add(sessionId, jobId) : job
      if (own === undefined) return undefined
      own.start ??= report
      // Not before, because another node may have started the job, and its text does not begin here.
      this.#begin(own)
    } else {
      const own = job ?? this.#add(sessionId, jobId)
      // Others of the worker may be under way.
      if (report.isRemote === true) own.isExact = false
      // The others were recorded before they were published.
      if (report.options.job.jobId === undefined || report.isRemote === true || job === undefined) own.progress = withoutText(report)
      if (report.reportedUnits === undefined && delta !== undefined) this.#append(own, delta)
      // Withheld text says nothing about its place.
      if (textEnd !== undefined && (delta !== undefined || own.base !== undefined || own.text === undefined)) {
        own.base ??= textEnd - (report.reportedUnits ?? own.text?.end ?? 0)
        own.confirmed = textEnd - own.base
        own.isBehind &&= own.text !== undefined && own.confirmed < own.text.end
      }
    }
    return undefined
  }

  /**
   * Records that the broker has rejected the progress of a running job. Returns it for the clients of this node, with the text that
   * they may lack, or undefined if the place of its text is not known.
   */
  rejected (sessionId: string, { body, isRemote = false, options: { delta, job: { event, jobId } } }: JobReport): Publication | undefined {
    const job = jobId === undefined || isRemote ? undefined : this.#running.get(sessionId, jobId)
    if (job === undefined || event !== 'progress') return undefined
    // It has no place in the stream's order. Clients that subscribe later get it from the broker.
    const publication = { body, durable: false, revision: -Infinity, jobId: job.jobId }
    if (delta === undefined) return publication
    job.isBehind = true
    const { text, isExact } = job
    // Nothing precedes the text of a job whose start waits.
    const base = job.isLate ? 0 : job.base
    if (text === undefined || base === undefined || !isExact) return undefined
    const from = Math.max(job.confirmed, job.delivered)
    job.delivered = text.end
    return { ...publication, text: { source: new MovedText(text, base), from: base + from, to: base + text.end } }
  }

  /** Returns a progress with the text of a running job that the broker may lack. */
  missing (sessionId: string, jobId: string): JobReport | undefined {
    const job = this.#running.get(sessionId, jobId)
    if (job?.progress === undefined || job.base === undefined || !job.isBehind || !job.isExact) return undefined
    return job.progressFrom(job.progress, job.base + job.confirmed)
  }

  /**
   * Records that the broker has rejected the start of a job. Returns it for the clients of this node. If the app goes on, the start is
   * published before the next report, see `lateStart`.
   */
  startRejected (sessionId: string, { isRemote = false, body, options: { job: { event, jobId } } }: JobReport): string | undefined {
    const job = jobId === undefined || isRemote || event !== 'start' ? undefined : this.#running.get(sessionId, jobId)
    // Another start, or another node, has begun it.
    if (job === undefined || job.base !== undefined) return undefined
    job.isLate = true
    return addFields(body, { jobId: job.jobId }, false)
  }

  /** Returns the start of a job that the broker has rejected. It is refused if another node runs the job. */
  lateStart (sessionId: string, jobId: string): JobReport | undefined {
    const job = this.#running.get(sessionId, jobId)
    return job?.isLate === true && job.start !== undefined ? withTransition(job.start, { jobId, repeated: true }) : undefined
  }

  /** Returns the job of a session that this node has begun last. */
  newest (sessionId: string): string | undefined {
    return this.#running.ofSession(sessionId).at(-1)?.jobId
  }

  /** Whether this node runs a job. */
  runs (sessionId: string, jobId: string): boolean {
    return this.#running.get(sessionId, jobId) !== undefined
  }

  /** Forgets a running job: another node owns it now, or it was released. */
  forget (sessionId: string, jobId: string): void {
    this.#textUnits -= this.#running.get(sessionId, jobId)?.text?.units ?? 0
    this.#running.delete(sessionId, jobId)
  }

  /** Returns the jobs to publish again by session, in the order of their ends, and then of their starts. */
  get sessions (): ReadonlyMap<string, ReadonlyArray<Pick<OwnJob, 'jobId' | 'seeds'>>> {
    this.#expire()
    const sessions = new Map<string, OwnJob[]>()
    for (const job of [...this.#ended, ...this.#running]) {
      const jobs = sessions.get(job.sessionId)
      if (jobs === undefined) sessions.set(job.sessionId, [job])
      else jobs.push(job)
    }
    return sessions
  }

  /**
   * Appends text. Returns its offset in the job's text, if that is known, and the length of the text that this node has reported. A
   * text that exceeds the total limit is published again without its beginning.
   */
  #append (job: OwnJob, delta: string): { readonly from: number | undefined, readonly reportedUnits: number } {
    const text = job.text ??= new JobText(this.#maxTextUnits)
    const from = job.base === undefined || !job.isExact ? undefined : job.base + text.end
    this.#textUnits -= text.units
    text.append(delta, true)
    if (this.#textUnits + text.units > MAX_TEXT_UNITS) text.discard()
    this.#textUnits += text.units
    return { from, reportedUnits: text.end }
  }

  /** Records that the broker has the start of a job. */
  #begin (job: OwnJob): void {
    job.base ??= 0
    job.isBehind ||= job.isLate && job.text !== undefined
    job.isLate = false
  }

  #add (sessionId: string, jobId: string): OwnJob {
    const job = new OwnJob(sessionId, jobId)
    this.#running.add(job)
    return job
  }

  #finish (job: OwnJob, end: JobReport): void {
    const { sessionId, jobId } = job
    this.forget(sessionId, jobId)
    this.#drop(job)
    job.end = end
    job.endedAt = this.#clock.monotonic()
    this.#ended.add(job)
    this.#endedById.add(job)
    this.#endedUnits += job.units
    const [oldest, ...others] = this.#endedById.ofSession(sessionId)
    if (oldest !== undefined && others.length >= MAX_ENDED_PER_SESSION) this.#drop(oldest)
    this.#expire()
  }

  #expire (): void {
    const expired = this.#clock.monotonic() - ENDED_TTL_MS
    for (const job of this.#ended) {
      if (job.endedAt > expired && this.#endedUnits <= MAX_ENDED_UNITS) return
      this.#drop(job)
    }
  }

  /** Forgets a job that has ended. */
  #drop (job: OwnJob): void {
    if (!this.#ended.delete(job)) return
    this.#endedById.delete(job.sessionId, job.jobId)
    this.#endedUnits -= job.units
  }
}

/** A text that begins at an offset in the text of its job. */
class MovedText implements TextSource {
  readonly #text: TextSource
  readonly #base: number

  constructor (text: TextSource, base: number) {
    this.#text = text
    this.#base = base
  }

  get end (): number {
    return this.#base + this.#text.end
  }

  get units (): number {
    return this.#text.units
  }

  slice (from: number, to = this.end): TextSlice {
    const { text, offset } = this.#text.slice(Math.max(0, from - this.#base), to - this.#base)
    return { text, offset: this.#base + offset, truncated: this.#base + offset > from }
  }
}

/** Returns a refused progress with the text that the broker lacks, or as one whose beginning is lost. */
function closeGap (job: OwnJob | undefined, report: JobReport, textEnd = 0): JobReport | undefined {
  // The broker must accept it then.
  if (report.options.truncated === true) return undefined
  if (job?.text !== undefined && job.base !== undefined) return job.progressFrom(report, textEnd)
  return { ...report, options: { ...report.options, truncated: true } }
}

/** It is published again without its key, which it has used. */
function withoutText (report: JobReport): JobReport {
  return { ...report, options: { ...report.options, delta: undefined, key: undefined } }
}

function withTransition (report: JobReport, transition: Partial<Transition>): JobReport {
  return { ...report, options: { ...report.options, key: undefined, job: { ...report.options.job, ...transition } } }
}
