import type { AICompleted, AIErrorInfo, AIFailed, AIProgress, AIProgressed, AIResult, AIStarted, AITask } from './messages.js'

/** An immutable view of a job. Each change creates a new object. */
export interface JobView {
  /** Empty if the server sends no job ids. */
  readonly jobId: string
  readonly status: 'processing' | 'complete' | 'error'
  readonly task?: AITask | undefined
  /** The latest progress, without its text. Undefined before the first. */
  readonly progress?: AIProgress | undefined
  /** The streamed text so far, without gaps. Empty for a job that streams no text. */
  readonly text: string
  /** Whether the beginning of the text is missing, because the server no longer keeps it. */
  readonly truncated: boolean
  readonly result?: AIResult | undefined
  /** The error. Its type is `lost` if the outcome of the job is unknown. */
  readonly error?: AIErrorInfo | undefined
  /** Whether fields of the result or the error are missing, because they exceeded what the server keeps. */
  readonly endTruncated: boolean
  /** The server's time of the start, ISO 8601. */
  readonly startedAt?: string | undefined
  /** The server's time of the end, ISO 8601. */
  readonly endedAt?: string | undefined
}

/**
 * The status of a session's subscription.
 *
 * - `none`: the session has no subscribers here.
 * - `pending`: a request is in flight, or will be sent as soon as there is a connection.
 * - `waiting`: the connection has reached the server's limit of sessions. A request is sent as soon as there is room.
 * - `subscribed`: the server has accepted the request.
 * - `refused`: the server has refused the request. The client asks again with the next connection or the next subscriber.
 */
export type SubscriptionStatus = 'none' | 'pending' | 'waiting' | 'subscribed' | 'refused'

/** An immutable snapshot of a session. It stays the same object until something changes. */
export interface JobsSnapshot {
  /** The job that started or ended last. A running job that reports progress after another one's end is the latest again. */
  readonly latest: JobView | undefined
  /** All running jobs and the latest ended ones. Ended jobs are in the order of their ends, running jobs of their starts. */
  readonly jobs: readonly JobView[]
  /**
   * Whether the server has sent the session's state since the client subscribed. Until then an empty `jobs` does not mean that
   * there are no jobs. Stays true while disconnected.
   */
  readonly isKnown: boolean
  readonly subscription: SubscriptionStatus
  /** Returns the job with this id, if it is among `jobs`. */
  readonly find: (jobId: string) => JobView | undefined
}

export type JobMessage = AIStarted | AIProgressed | AICompleted | AIFailed

/**
 * The outcome of applying a message: emit it to listeners (`emit`), don't (`drop`), or nothing was applied because its text
 * begins after a gap (`gap`).
 */
export type Outcome = 'emit' | 'drop' | 'gap'

/**
 * Why jobs count as lost:
 *
 * - `unconfirmed`: the server's snapshot does not contain them.
 * - `suspended`: the client has stopped reconnecting. If it recovers without a gap, they count as running again.
 * - `all`: the client may no longer subscribe to the session.
 */
export type Loss = 'unconfirmed' | 'suspended' | 'all'

/** Maximum number of ended jobs kept per session. */
const MAX_ENDED = 32

interface Job {
  view: JobView
  /** The offset in the job's text up to which it is known, in UTF-16 units. */
  end: number
  /** Why the client presumes that the job has ended, if it does. Any message about the job overrules it. */
  lost: Loss | undefined
}

/** Tracks the jobs of one session from their messages. */
export class Jobs {
  readonly #jobs = new Map<string, Job>()
  #latest: Job | undefined
  /** Jobs that the arriving snapshot has not contained yet. */
  #unconfirmed = new Set<string>()

  get latest (): JobView | undefined {
    return this.#latest?.view
  }

  get views (): readonly JobView[] {
    return this.#select().map(({ view }) => view)
  }

  /** The id of the newest running job. */
  get running (): string | undefined {
    return this.#select(isRunning).at(-1)?.view.jobId
  }

  /** The `have` value to send: the known length of each text that the server may continue or send again. */
  get have (): Record<string, number> | undefined {
    const held = this.#select((job) => job.end > 0 && (!hasEnded(job) || job === this.#latest))
    return held.length === 0 ? undefined : Object.fromEntries(held.map(({ view, end }) => [view.jobId, end]))
  }

  /** Applies a message. If `allowGap` is set, accepts a text that begins after a gap. */
  apply (message: JobMessage, allowGap: boolean): Outcome {
    const { type, jobId = '', timestamp } = message
    // Without ids, every start begins another job.
    const known = type === 'ai_start' && jobId === '' ? undefined : this.#jobs.get(jobId)
    this.confirm(jobId)
    if (type === 'ai_progress') return this.#progress(message, known, allowGap)
    if (type === 'ai_start') {
      if (known && !known.lost) return 'drop'
      this.#change(known ?? this.#open(jobId), { ...RUNNING, task: message.task, startedAt: timestamp })
    } else {
      if (known && hasEnded(known) && !message.supersedes) return 'drop'
      this.#end(known ?? this.#open(jobId), {
        ...(type === 'ai_complete'
          ? { status: 'complete', result: message.result, error: undefined }
          : { status: 'error', result: undefined, error: message.error }),
        endTruncated: message.truncated === true,
        endedAt: timestamp
      })
    }
    return 'emit'
  }

  /** Prepares for a snapshot, which contains every running job. */
  expectSnapshot (): void {
    this.#unconfirmed = new Set(this.#jobs.keys())
    for (const job of this.#jobs.values()) job.lost &&= 'unconfirmed'
  }

  /** Records that the server has mentioned a job. */
  confirm (jobId = ''): void {
    this.#unconfirmed.delete(jobId)
  }

  /** Marks a lost job as running again. Returns whether it was lost. */
  revive (jobId = ''): boolean {
    const job = this.#jobs.get(jobId)
    if (!job?.lost) return false
    this.#change(job, RUNNING)
    return true
  }

  /** Marks suspended jobs as running again after a complete recovery. If one has ended, the replay contains its end. */
  resume (): void {
    for (const { lost, view } of this.#select()) if (lost === 'suspended') this.revive(view.jobId)
  }

  /** Ends running jobs with an error: for `unconfirmed` those missing from the snapshot, otherwise all. Returns their ids. */
  lose (error: AIErrorInfo, endedAt: string, which: Loss): string[] {
    const lost = this.#select((job) => isRunning(job) && (which !== 'unconfirmed' || this.#unconfirmed.has(job.view.jobId)))
    for (const job of lost) {
      this.#end(job, { status: 'error', error, endedAt })
      job.lost = which
    }
    return lost.map(({ view }) => view.jobId)
  }

  #progress ({ jobId = '', progress: given }: AIProgressed, known: Job | undefined, allowGap: boolean): Outcome {
    const { delta = '', offset = 0, truncated, ...progress } = given
    const job = known ?? this.#open(jobId)
    let { text } = job.view
    if (offset > job.end) {
      if (!allowGap && !truncated) return 'gap'
      text = ''
      job.end = offset
    }
    const added = delta.slice(job.end - offset)
    text += added
    job.end += added.length
    const streamed = { text, truncated: text.length < job.end }
    if (known && hasEnded(known)) {
      // Completes the text of an ended job. Its progress and status stay.
      this.#change(job, streamed, false)
      return 'drop'
    }
    // Progress makes a running job the latest, unless the latest is another running job.
    const isLatest = !(known && !job.lost && this.#latest && isRunning(this.#latest))
    this.#change(job, { ...streamed, ...(job.lost && RUNNING), progress }, isLatest)
    return 'emit'
  }

  #open (jobId: string): Job {
    const view: JobView = { jobId, status: 'processing', text: '', truncated: false, endTruncated: false }
    const job: Job = { view, end: 0, lost: undefined }
    this.#append(job)
    return job
  }

  #end (job: Job, end: Partial<JobView>): void {
    this.#change(job, end)
    // Ended jobs stay in the order of their ends, so the oldest is removed first.
    this.#append(job)
    for (const { view } of this.#select((job) => !isRunning(job)).slice(0, -MAX_ENDED)) this.#jobs.delete(view.jobId)
  }

  #append (job: Job): void {
    this.#jobs.delete(job.view.jobId)
    this.#jobs.set(job.view.jobId, job)
  }

  #change (job: Job, changes: Partial<JobView>, isLatest = true): void {
    job.view = Object.freeze({ ...job.view, ...changes })
    if (changes.status) job.lost = undefined
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

/** The snapshot of a session without a subscription. */
export const noJobs = snapshotOf(new Jobs(), false, 'none')

/** The fields of a running job; they undo a presumed end. */
const RUNNING = { status: 'processing', error: undefined, endedAt: undefined } as const

function isRunning ({ view }: Job): boolean {
  return view.status === 'processing'
}

/** Whether the server has reported the end of the job. */
function hasEnded (job: Job): boolean {
  return !isRunning(job) && !job.lost
}
