import type { Published, PublishOptions, Stream } from '../streams/broker.js'
import { JobText } from '../streams/job-text.js'
import type { Transition } from '../streams/session-jobs.js'
import type { Clock } from '../util/clock.js'
import { JobMap } from '../util/job-map.js'

/** How long the state of a job is kept after its end, in milliseconds: a store may lose what it accepted last. */
const ENDED_TTL_MS = 60_000
/** Total length of what is kept of ended jobs, in UTF-16 units. */
const MAX_ENDED_UNITS = 8 * 1024 * 1024

/** A report on a job, as it is published. */
export interface JobReport {
  readonly stream: Stream
  readonly body: string
  readonly options: PublishOptions & { readonly job: Transition }
  /** Length of the text that this node has reported, this report included. Undefined if the report is not recorded yet. */
  readonly reportedUnits?: number
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
  endedAt = 0

  constructor (sessionId: string, jobId: string) {
    this.sessionId = sessionId
    this.jobId = jobId
  }

  /** Length of everything that is kept, in UTF-16 units. */
  get units (): number {
    return [this.start, this.progress, this.end].reduce((sum, report) => sum + (report?.body.length ?? 0), this.text?.units ?? 0)
  }

  /** Appends text. Returns its offset in the job's text, if that is known, and the length of the text that this node has reported. */
  append (delta: string, maxTextUnits: number): { readonly from: number | undefined, readonly reportedUnits: number } {
    this.text ??= new JobText(maxTextUnits)
    const from = this.base === undefined || !this.isExact ? undefined : this.base + this.text.end
    this.text.append(delta, true)
    return { from, reportedUnits: this.text.end }
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
    const { start, end } = this
    // Without its offset, a piece of text would be appended to what the store has.
    const progress = this.progress && (this.base === undefined ? withoutText(this.progress) : this.progressFrom(this.progress, 0))
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
  /** In the order of their ends. */
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
    if (jobId === undefined) {
      // The broker decides which job the text belongs to, so the offsets of all jobs are unknown until then.
      if (delta !== undefined) for (const job of this.#running.ofSession(sessionId)) job.isExact = false
      return report
    }
    const known = this.#running.get(sessionId, jobId)
    const job = known ?? this.#add(sessionId, jobId)
    if (event === 'start') {
      job.start ??= report
      return report
    }
    job.progress = report
    if (delta === undefined) return report
    const { from, reportedUnits } = job.append(delta, this.#maxTextUnits)
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
    if (dropped === 'gap') return job?.progressFrom(report, textEnd ?? 0)
    if (dropped === 'ended' || dropped === 'owned') this.forget(sessionId, jobId)
    if (dropped !== undefined) return undefined
    if (event === 'complete' || event === 'error') {
      this.#finish(sessionId, jobId, report)
    } else if (event === 'start') {
      // Not before, because another node may have started the job, and its text does not begin here.
      if (job !== undefined) job.base ??= 0
    } else {
      const own = job ?? this.#add(sessionId, jobId)
      own.progress = report
      if (report.reportedUnits === undefined && delta !== undefined) own.append(delta, this.#maxTextUnits)
      if (textEnd !== undefined) own.base ??= textEnd - (report.reportedUnits ?? own.text?.end ?? 0)
    }
    return undefined
  }

  /** Forgets a job: another node owns it now, or it was released. */
  forget (sessionId: string, jobId: string): void {
    this.#running.delete(sessionId, jobId)
  }

  /** Returns the reports that bring back each job, in their order. */
  seeds (): Array<{ readonly sessionId: string, readonly reports: readonly JobReport[] }> {
    this.#expire()
    return [...this.#ended, ...this.#running].map(({ sessionId, seeds }) => ({ sessionId, reports: seeds }))
  }

  #add (sessionId: string, jobId: string): OwnJob {
    const job = new OwnJob(sessionId, jobId)
    this.#running.add(job)
    return job
  }

  #finish (sessionId: string, jobId: string, end: JobReport): void {
    const running = this.#running.get(sessionId, jobId)
    const job = running ?? [...this.#ended].find((ended) => ended.sessionId === sessionId && ended.jobId === jobId)
    if (job === undefined) return
    this.#running.delete(sessionId, jobId)
    if (this.#ended.delete(job)) this.#endedUnits -= job.units
    job.end = end
    job.endedAt = this.#clock.monotonic()
    this.#ended.add(job)
    this.#endedUnits += job.units
    this.#expire()
  }

  #expire (): void {
    const expired = this.#clock.monotonic() - ENDED_TTL_MS
    for (const job of this.#ended) {
      if (job.endedAt > expired && this.#endedUnits <= MAX_ENDED_UNITS) return
      this.#ended.delete(job)
      this.#endedUnits -= job.units
    }
  }
}

function withoutText (report: JobReport): JobReport {
  return { ...report, options: { ...report.options, delta: undefined } }
}

function withTransition (report: JobReport, transition: Partial<Transition>): JobReport {
  return { ...report, options: { ...report.options, job: { ...report.options.job, ...transition } } }
}
