import type { AICompleted, AIErrorInfo, AIFailed, AIProgress, AIProgressed, AIResult, AIStarted, AITask } from './messages.js'

/** A job as a reader sees it. It never changes: another state is another object. */
export interface JobView {
  /** Empty for a server that gives none. */
  readonly jobId: string
  readonly status: 'processing' | 'complete' | 'error'
  readonly task?: AITask | undefined
  /** The newest numbers, without the text. Undefined before the first. */
  readonly progress?: AIProgress | undefined
  /** What is known of the streamed text, without a gap. Empty for a job that streams none. */
  readonly text: string
  /** Whether the beginning of the text is missing, because the server did not keep it. */
  readonly truncated: boolean
  readonly result?: AIResult | undefined
  /** Of type `lost`, when nobody knows any more how the job ended. */
  readonly error?: AIErrorInfo | undefined
  /** Whether fields of the result or the error are missing, because the server had no room to keep them. */
  readonly endTruncated: boolean
  /** The server's time of the start and of the end, ISO 8601. */
  readonly startedAt?: string | undefined
  readonly endedAt?: string | undefined
}

/**
 * Whether a session is followed.
 *
 * - `none`: nobody here wants it.
 * - `pending`: it is asked for, or will be as soon as there is a connection.
 * - `waiting`: the connection follows as many sessions as the server allows. It is asked for as soon as there is room.
 * - `subscribed`: the server has accepted.
 * - `refused`: the server has refused. It is asked again with the next connection, and when somebody else wants the session.
 */
export type SubscriptionStatus = 'none' | 'pending' | 'waiting' | 'subscribed' | 'refused'

/** What is known of a session. The same object until something changes. */
export interface JobsSnapshot {
  /** The job of the latest start or end; a running one that reports after another's end is the latest again. */
  readonly latest: JobView | undefined
  /** Every running job and the latest ended ones: ended ones in the order of their ends, running ones of their starts. */
  readonly jobs: readonly JobView[]
  /**
   * Whether the server has sent the session's state since it was followed. Before that, no job means nothing. Stays true while
   * the connection is lost.
   */
  readonly isKnown: boolean
  readonly subscription: SubscriptionStatus
  /** Returns the job with this id, if it is among `jobs`. */
  readonly find: (jobId: string) => JobView | undefined
}

export type JobMessage = AIStarted | AIProgressed | AICompleted | AIFailed

/**
 * What became of a message: listeners are told of it or not, or its text begins behind a gap and nothing of it was taken.
 */
export type Outcome = 'told' | 'dropped' | 'gap'

/**
 * Why jobs are given up: the present state did not mention them (`unseen`), there is no connection (`suspended`: recovered
 * without a gap, they run on), or all of the session's are.
 */
export type Loss = 'unseen' | 'suspended' | 'all'

/** Ended jobs that are remembered in a session. */
const MAX_ENDED = 32

interface Job {
  view: JobView
  /** Where in the job's text the known part ends, in UTF-16 units. */
  end: number
  /** Why its end was presumed here, if it was: any news of the job overrules it. */
  lost: Loss | undefined
}

/** The jobs of one session, as far as messages have told. */
export class Jobs {
  readonly #jobs = new Map<string, Job>()
  #latest: Job | undefined
  /** Jobs that the present state which is coming has not mentioned yet. */
  #unseen = new Set<string>()

  get latest (): JobView | undefined {
    return this.#latest?.view
  }

  get views (): readonly JobView[] {
    return this.#select().map(({ view }) => view)
  }

  /** The newest running job's id. */
  get running (): string | undefined {
    return this.#select(isRunning).at(-1)?.view.jobId
  }

  /** How much is held of the texts that may go on, or be sent again. */
  get have (): Record<string, number> | undefined {
    const held = this.#select((job) => job.end > 0 && (!hasEnded(job) || job === this.#latest))
    return held.length === 0 ? undefined : Object.fromEntries(held.map(({ view, end }) => [view.jobId, end]))
  }

  /** `mayJump` accepts a text that begins behind a gap. */
  apply (message: JobMessage, mayJump: boolean): Outcome {
    const { type, jobId = '', timestamp } = message
    // Without an id a start can only be another job's.
    const known = type === 'ai_start' && jobId === '' ? undefined : this.#jobs.get(jobId)
    this.see(jobId)
    if (type === 'ai_progress') return this.#progress(message, known, mayJump)
    if (type === 'ai_start') {
      if (known && !known.lost) return 'dropped'
      this.#change(known ?? this.#open(jobId), { ...RUNS, task: message.task, startedAt: timestamp })
    } else {
      if (known && hasEnded(known) && !message.supersedes) return 'dropped'
      this.#end(known ?? this.#open(jobId), {
        ...(type === 'ai_complete'
          ? { status: 'complete', result: message.result, error: undefined }
          : { status: 'error', result: undefined, error: message.error }),
        endTruncated: message.truncated === true,
        endedAt: timestamp
      })
    }
    return 'told'
  }

  /** The present state comes, and with it every job that runs. */
  expectState (): void {
    this.#unseen = new Set(this.#jobs.keys())
    for (const job of this.#jobs.values()) job.lost &&= 'unseen'
  }

  /** The server speaks of this job. */
  see (jobId = ''): void {
    this.#unseen.delete(jobId)
  }

  /** The same, of one that runs: it may be one that counts as lost here. Returns whether it was. */
  revive (jobId = ''): boolean {
    const job = this.#jobs.get(jobId)
    if (!job?.lost) return false
    this.#change(job, RUNS)
    return true
  }

  /** Nothing was missed: what was given up meanwhile runs on, unless its end is among what comes. */
  resume (): void {
    for (const { lost, view } of this.#select()) if (lost === 'suspended') this.revive(view.jobId)
  }

  /** Ends the running jobs with an error: those that the present state did not mention, or all. Answers their ids. */
  lose (error: AIErrorInfo, endedAt: string, which: Loss): string[] {
    const lost = this.#select((job) => isRunning(job) && (which !== 'unseen' || this.#unseen.has(job.view.jobId)))
    for (const job of lost) {
      this.#end(job, { status: 'error', error, endedAt })
      job.lost = which
    }
    return lost.map(({ view }) => view.jobId)
  }

  #progress ({ jobId = '', progress: given }: AIProgressed, known: Job | undefined, mayJump: boolean): Outcome {
    const { delta = '', offset = 0, truncated, ...progress } = given
    const job = known ?? this.#open(jobId)
    let { text } = job.view
    if (offset > job.end) {
      if (!mayJump && !truncated) return 'gap'
      text = ''
      job.end = offset
    }
    const news = delta.slice(job.end - offset)
    text += news
    job.end += news.length
    const streamed = { text, truncated: text.length < job.end }
    if (known && hasEnded(known)) {
      // What the text lacked when the end came. The numbers and the state are the end's.
      this.#change(job, streamed, false)
      return 'dropped'
    }
    // One that runs is the latest when it reports, unless another one that runs is.
    const isLatest = !(known && !job.lost && this.#latest && isRunning(this.#latest))
    this.#change(job, { ...streamed, ...(job.lost && RUNS), progress }, isLatest)
    return 'told'
  }

  #open (jobId: string): Job {
    const view: JobView = { jobId, status: 'processing', text: '', truncated: false, endTruncated: false }
    const job: Job = { view, end: 0, lost: undefined }
    this.#put(job)
    return job
  }

  #end (job: Job, end: Partial<JobView>): void {
    this.#change(job, end)
    // To the end, so that the one that ended first is forgotten first.
    this.#put(job)
    for (const { view } of this.#select((job) => !isRunning(job)).slice(0, -MAX_ENDED)) this.#jobs.delete(view.jobId)
  }

  #put (job: Job): void {
    this.#jobs.delete(job.view.jobId)
    this.#jobs.set(job.view.jobId, job)
  }

  #change (job: Job, news: Partial<JobView>, isLatest = true): void {
    job.view = Object.freeze({ ...job.view, ...news })
    if (news.status) job.lost = undefined
    if (isLatest) this.#latest = job
  }

  #select (which: (job: Job) => boolean = () => true): Job[] {
    return [...this.#jobs.values()].filter(which)
  }
}

export function snapshotOf ({ latest, views }: Jobs, isKnown: boolean, subscription: SubscriptionStatus): JobsSnapshot {
  const jobs = Object.freeze(views)
  return Object.freeze({ latest, jobs, isKnown, subscription, find: (jobId: string) => jobs.find((job) => job.jobId === jobId) })
}

/** What a session is that nobody follows. */
export const noJobs = snapshotOf(new Jobs(), false, 'none')

/** What a job that counted as lost is again. */
const RUNS = { status: 'processing', error: undefined, endedAt: undefined } as const

function isRunning ({ view }: Job): boolean {
  return view.status === 'processing'
}

/** Whether its end is more than presumed. */
function hasEnded (job: Job): boolean {
  return !isRunning(job) && !job.lost
}
