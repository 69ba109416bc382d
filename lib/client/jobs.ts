import type { AICompleted, AIErrorInfo, AIFailed, AIProgress, AIProgressed, AIResult, AIStarted, AITask } from './messages.js'

/** A job as a reader sees it. It never changes: another state is another object. */
export interface JobView {
  /** Empty for a server that gives none. */
  readonly jobId: string
  readonly status: 'processing' | 'complete' | 'error'
  readonly task: AITask | undefined
  /** The newest numbers, without the text. Undefined before the first. */
  readonly progress: AIProgress | undefined
  /** What is known of the streamed text, without a gap. Empty for a job that streams none. */
  readonly text: string
  /** Whether the beginning of the text is missing, because the server did not keep it. */
  readonly truncated: boolean
  readonly result: AIResult | undefined
  /** Of type `lost`, when nobody knows any more how the job ended. */
  readonly error: AIErrorInfo | undefined
  /** The server's time of the start and of the end, ISO 8601. */
  readonly startedAt: string | undefined
  readonly endedAt: string | undefined
}

/** A session's jobs. The same object until something changes. */
export interface JobsSnapshot {
  /** The job of the latest start or end; a running one that reports after another's end is the latest again. */
  readonly latest: JobView | undefined
  /** Every running job and the latest ended ones: running ones in the order of their starts, ended ones of their ends. */
  readonly jobs: ReadonlyMap<string, JobView>
}

export type JobMessage = AIStarted | AIProgressed | AICompleted | AIFailed

/**
 * What became of a message: listeners are told of it or not, or its text begins behind a gap and nothing of it was taken.
 */
export type Outcome = 'told' | 'dropped' | 'gap'

/** Ended jobs that are remembered in a session. */
const MAX_ENDED = 32

export const noJobs: JobsSnapshot = Object.freeze({ latest: undefined, jobs: new Map<string, JobView>() })

class Job {
  readonly id: string
  status: JobView['status'] = 'processing'
  task: AITask | undefined
  progress: AIProgress | undefined
  result: AIResult | undefined
  error: AIErrorInfo | undefined
  startedAt: string | undefined
  endedAt: string | undefined
  /** Its end was only presumed here: any news of the job overrules it. */
  lost = false
  /** Lost only because there was no connection: recovered without a gap, it runs on. */
  suspended = false
  /** Not mentioned yet in the present state that is coming. */
  unseen = false
  /** Where in the job's text the known part begins and ends, in UTF-16 units. */
  start = 0
  end = 0
  #pieces: string[] = []
  #view: JobView | undefined

  constructor (id: string) {
    this.id = id
  }

  changed (): void {
    this.#view = undefined
  }

  /** Stitches a piece on. False when something is missing in front of it. */
  stitch (delta: string, offset: number, mayJump: boolean): boolean {
    if (offset > this.end) {
      if (!mayJump) return false
      this.#pieces = []
      this.start = this.end = offset
    }
    const news = delta.slice(this.end - offset)
    if (news !== '') this.#pieces.push(news)
    this.end += news.length
    return true
  }

  view (): JobView {
    if (this.#view === undefined) {
      const text = this.#pieces.join('')
      this.#pieces = [text]
      const { id: jobId, status, task, progress, start, result, error, startedAt, endedAt } = this
      this.#view = Object.freeze({ jobId, status, task, progress, text, truncated: start > 0, result, error, startedAt, endedAt })
    }
    return this.#view
  }
}

/** The jobs of one session, as far as messages have told. */
export class Jobs {
  readonly #jobs = new Map<string, Job>()
  #latest: Job | undefined
  #snapshot: JobsSnapshot | undefined = noJobs

  snapshot (): JobsSnapshot {
    return this.#snapshot ??= Object.freeze({
      latest: this.#latest?.view(),
      jobs: new Map([...this.#jobs].map(([id, job]) => [id, job.view()]))
    })
  }

  /** The newest running job's id. */
  get running (): string | undefined {
    let id: string | undefined
    for (const job of this.#jobs.values()) if (job.status === 'processing') ({ id } = job)
    return id
  }

  /** How much is held of the texts that may go on, or be sent again. */
  get have (): Record<string, number> | undefined {
    const held = [...this.#jobs.values()].filter((job) => job.end > 0 && (job.status === 'processing' || job.lost || job === this.#latest))
    return held.length === 0 ? undefined : Object.fromEntries(held.map((job) => [job.id, job.end]))
  }

  /** How much is held of one of them. */
  held (jobId = ''): number {
    return this.#jobs.get(jobId)?.end ?? 0
  }

  /** `mayJump` accepts a text that begins behind a gap. */
  apply (message: JobMessage, mayJump: boolean): Outcome {
    const { type, jobId = '', timestamp } = message
    const known = this.#jobs.get(jobId)
    this.see(jobId)
    if (type === 'ai_progress') return this.#progress(message, known, mayJump)
    if (type === 'ai_start') {
      // Without an id a start can only be another job's.
      if (known !== undefined && jobId !== '' && !known.lost) return 'dropped'
      const job = known !== undefined && jobId !== '' ? known : this.#open(jobId)
      this.#run(job)
      job.task = message.task
      job.startedAt = timestamp
      this.#change(job, true)
      return 'told'
    }
    if (known !== undefined && known.status !== 'processing' && !known.lost && message.supersedes !== true) return 'dropped'
    const job = known ?? this.#open(jobId)
    job.result = job.error = undefined
    if (type === 'ai_complete') job.result = message.result
    else job.error = message.error
    this.#end(job, type === 'ai_complete' ? 'complete' : 'error', timestamp)
    return 'told'
  }

  /** The present state comes, and with it every job that runs. */
  expectState (): void {
    for (const job of this.#jobs.values()) {
      job.unseen = true
      job.suspended = false
    }
  }

  /** The server speaks of this job. */
  see (jobId = ''): void {
    const job = this.#jobs.get(jobId)
    if (job !== undefined) job.unseen = false
  }

  /** The same, of one that runs: it may be one that counts as lost here. */
  revive (jobId = ''): void {
    const job = this.#jobs.get(jobId)
    if (job?.lost !== true) return
    this.#run(job)
    this.#change(job, true)
  }

  /** Nothing was missed: what was given up meanwhile runs on, unless its end is among what comes. */
  resume (): void {
    for (const job of this.#jobs.values()) if (job.suspended) this.revive(job.id)
  }

  /** Ends the running jobs with an error: those that the present state did not mention, or all. Answers their ids. */
  lose (error: AIErrorInfo, timestamp: string, which: 'unseen' | 'suspended' | 'all'): string[] {
    const lost = [...this.#jobs.values()].filter((job) => job.status === 'processing' && (which !== 'unseen' || job.unseen))
    for (const job of lost) {
      job.error = error
      this.#end(job, 'error', timestamp)
      job.lost = true
      job.suspended = which === 'suspended'
    }
    return lost.map(({ id }) => id)
  }

  #progress (message: AIProgressed, known: Job | undefined, mayJump: boolean): Outcome {
    const { jobId = '', progress: { delta, offset = 0, truncated, ...progress } } = message
    const hasEnded = known !== undefined && known.status !== 'processing' && !known.lost
    // Without an id nobody knows which job it is: only a start opens the next.
    const job = known ?? this.#open(jobId)
    if (delta !== undefined && !job.stitch(delta, offset, mayJump || truncated === true)) return 'gap'
    if (hasEnded) {
      // What the text lacked when the end came. The numbers and the state are the end's.
      this.#change(job, false)
      return 'dropped'
    }
    if (job.lost) this.#run(job)
    job.progress = progress
    this.#change(job, known === undefined || this.#latest?.status !== 'processing')
    return 'told'
  }

  #open (id: string): Job {
    const job = new Job(id)
    this.#jobs.delete(id)
    this.#jobs.set(id, job)
    return job
  }

  #run (job: Job): void {
    job.status = 'processing'
    job.error = job.endedAt = undefined
    job.lost = job.suspended = false
  }

  #end (job: Job, status: 'complete' | 'error', timestamp: string): void {
    job.status = status
    job.endedAt = timestamp
    job.lost = job.suspended = false
    this.#change(job, true)
    // To the end, so that the one that ended first is forgotten first.
    this.#jobs.delete(job.id)
    this.#jobs.set(job.id, job)
    const ended = [...this.#jobs.values()].filter(({ status }) => status !== 'processing')
    for (const { id } of ended.slice(0, -MAX_ENDED)) this.#jobs.delete(id)
  }

  #change (job: Job, isLatest: boolean): void {
    job.changed()
    if (isLatest) this.#latest = job
    this.#snapshot = undefined
  }
}
