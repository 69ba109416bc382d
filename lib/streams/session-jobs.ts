/** A report on a job, as the job rules see it. */
export interface Transition {
  readonly event: 'start' | 'progress' | 'complete' | 'error'
  /** The job that it is about. Without it, the forgiving rules choose one of the session, usually the newest. */
  readonly jobId?: string | undefined
  /** `chunksReceived` of a progress, or `chunks` of a result. After an end, a lower count means that a new run has begun. */
  readonly chunks?: number | undefined
  /** Whether the server presumes this end: the producer went silent, or its process exits. The real end may still follow. */
  readonly presumed?: boolean
  /** Presumed ends only: the ownership that the broker reported with `orphaned`. Absent if the job is the node's own. */
  readonly ownership?: Ownership
  /**
   * Whether the node has reported this before, and repeats it in case the store has lost it. Refused if another node owns the job,
   * unless it is a real end.
   */
  readonly repeated?: boolean
}

/** Identifies the owner of a job and its latest report. It is opaque: only the broker reads it. */
export type Ownership = string

/**
 * Why a report is refused: its job has `ended`, has already `started`, or can't be determined (`stray`). Only what the server
 * sends on its own is refused for two more reasons: another node reports on the job (`owned`), or a piece of the job's text is
 * missing before this one (`gap`). A publication with a `key` is refused if another request has used the key (`reused`).
 */
export type DropReason = 'ended' | 'started' | 'stray' | 'owned' | 'gap' | 'reused'

export type Verdict<J> =
  | { readonly job: J, readonly supersedes: boolean, readonly disowned?: string | undefined }
  /** `presumed` is the job that the report is about, if its end was only presumed. */
  | { readonly dropped: DropReason, readonly presumed?: J, readonly disowned?: string | undefined }

/**
 * One run of an AI task. Modules that keep data for each job extend this class. There are very many jobs, and a subclass
 * saves one object for each.
 */
export class Job {
  readonly id: string
  status: 'running' | 'complete' | 'error' = 'running'
  /** Whether its end was only presumed. */
  presumed = false
  /** The last reported number of chunks. */
  chunks: number | undefined
  /** Name of the node that owns it, and how often this was confirmed by a report. Undefined while it has no owner. */
  owner: string | undefined
  reports = 0

  constructor (id: string) {
    this.id = id
  }

  /** Whether more reports may follow. */
  get isOpen (): boolean {
    return this.status === 'running' || this.presumed
  }

  get ownership (): Ownership {
    return `${this.reports} ${this.owner ?? ''}`
  }
}

/** Number of ended jobs of a session that are remembered, so that late reports can be refused. */
const MAX_ENDED = 32

/**
 * Tracks the jobs of one session and applies the job rules. For a report with a `jobId` the rules are strict: one start, one
 * end, nothing after it. Without one they are forgiving, because the documented calls name only the session. Then a result is
 * never dropped, and no spinner is left spinning.
 *
 * Usually a single job runs, so the newest one has its own field and needs no map.
 */
export class SessionJobs<J extends Job> {
  readonly #createJob: (jobId: string | undefined) => J
  readonly #onForget: (job: J) => void
  #newestRunning: J | undefined
  /** The other running jobs and the ended jobs, in the order of their start or end, newest last. */
  #others: Map<string, J> | undefined
  #ended: Map<string, J> | undefined

  /**
   * @param create Makes a job, with a new id if none is given.
   * @param onForget Called with each job that is no longer remembered.
   */
  constructor (create: (jobId: string | undefined) => J, onForget: (job: J) => void) {
    this.#createJob = create
    this.#onForget = onForget
  }

  get running (): readonly J[] {
    const newest = this.#newestRunning
    if (newest === undefined) return []
    return this.#others === undefined ? [newest] : [...this.#others.values(), newest]
  }

  get ended (): Iterable<J> {
    return this.#ended?.values() ?? []
  }

  get latestEnded (): J | undefined {
    return last(this.#ended)
  }

  /** Returns a running job. */
  findRunning (jobId: string): J | undefined {
    const newest = this.#newestRunning
    return newest?.id === jobId ? newest : this.#others?.get(jobId)
  }

  /** Returns an ended job, if it is still remembered. */
  findEnded (jobId: string): J | undefined {
    return this.#ended?.get(jobId)
  }

  get newestRunning (): J | undefined {
    return this.#newestRunning
  }

  /** Whether more reports of any job may follow: it runs, or its end was only presumed. */
  get hasOpenJobs (): boolean {
    return this.#newestRunning !== undefined || this.#presumedEnded.length > 0
  }

  /** Jobs that may still get reports. */
  get open (): readonly J[] {
    return this.#ended === undefined ? this.running : [...this.running, ...this.#presumedEnded]
  }

  get #presumedEnded (): readonly J[] {
    return [...this.ended].filter((job) => job.isOpen)
  }

  /** Forgets the jobs that have ended for good. */
  forgetEnded (): void {
    if (this.#ended === undefined) return
    for (const job of this.#ended.values()) if (!job.isOpen) this.#forget(this.#ended, job)
    if (this.#ended.size === 0) this.#ended = undefined
  }

  /**
   * Applies the rules to a report. If it is accepted, updates the job's state.
   *
   * @param node Name of the reporting node, which then owns the job. Not needed if there is only one node.
   */
  apply (transition: Transition, node?: string): Verdict<J> {
    const verdict = transition.jobId === undefined ? this.#applyWithoutId(transition, node) : this.#applyWithId(transition, transition.jobId, node)
    if (!('job' in verdict)) return verdict
    const { job } = verdict
    this.#record(job, transition)
    if (transition.presumed === true || job.owner === node) {
      job.reports++
      return verdict
    }
    return { ...verdict, disowned: own(job, node) }
  }

  /** Makes a node the owner of a running job. Returns the node that owned it before, or false if the job is not running. */
  adopt (jobId: string, node: string): { disowned: string | undefined } | false {
    const job = this.findRunning(jobId)
    return job !== undefined && { disowned: own(job, node) }
  }

  /** Gives up a job. Returns whether the node owned it. */
  release (jobId: string, node: string): boolean {
    const job = this.findRunning(jobId)
    if (job?.owner !== node) return false
    own(job, undefined)
    return true
  }

  #applyWithId (transition: Transition, jobId: string, node: string | undefined): Verdict<J> {
    const { event, presumed } = transition
    const running = this.findRunning(jobId)
    if (running !== undefined) {
      if (!mayReport(running, transition, node)) return { dropped: 'owned' }
      if (event === 'start') return { dropped: 'started', disowned: running.owner === node ? undefined : own(running, node) }
      return { job: running, supersedes: false }
    }
    const ended = this.#ended?.get(jobId)
    if (ended === undefined) return { job: this.#begin(jobId), supersedes: false }
    return isRealEnd(event, presumed) && ended.presumed ? { job: ended, supersedes: true } : tooLate(ended)
  }

  #applyWithoutId (transition: Transition, node: string | undefined): Verdict<J> {
    const { event, chunks, presumed } = transition
    if (event === 'start') return { job: this.#begin(), supersedes: false }
    const running = this.#newestRunning
    if (running !== undefined) return mayReport(running, transition, node) ? { job: running, supersedes: false } : { dropped: 'owned' }
    const ended = this.latestEnded
    if (isRealEnd(event, presumed)) {
      return ended?.presumed === true ? { job: ended, supersedes: true } : { job: this.#begin(), supersedes: false }
    }
    if (event === 'progress' && (ended === undefined || isNewRun(chunks, ended.chunks))) return { job: this.#begin(), supersedes: false }
    return ended === undefined ? { dropped: 'stray' } : tooLate(ended)
  }

  #begin (jobId?: string): J {
    const job = this.#createJob(jobId)
    const before = this.#newestRunning
    if (before !== undefined) (this.#others ??= new Map<string, J>()).set(before.id, before)
    this.#newestRunning = job
    return job
  }

  #record (job: J, { event, chunks, presumed = false }: Transition): void {
    job.chunks = chunks ?? job.chunks
    if (event === 'start' || event === 'progress') return
    job.status = event
    job.presumed = presumed
    this.#removeRunning(job)
    const ended = this.#ended ??= new Map<string, J>()
    ended.delete(job.id)
    ended.set(job.id, job)
    for (const oldest of ended.values()) {
      if (ended.size <= MAX_ENDED) break
      this.#forget(ended, oldest)
    }
  }

  /** Removes a job from the running ones. */
  #removeRunning (job: J): void {
    if (job === this.#newestRunning) {
      this.#newestRunning = last(this.#others)
      if (this.#newestRunning !== undefined) this.#others?.delete(this.#newestRunning.id)
    } else {
      this.#others?.delete(job.id)
    }
    if (this.#others?.size === 0) this.#others = undefined
  }

  #forget (ended: Map<string, J>, job: J): void {
    ended.delete(job.id)
    this.#onForget(job)
  }
}

/** Changes the owner of a job. Returns the previous one. */
function own (job: Job, node: string | undefined): string | undefined {
  const { owner } = job
  job.owner = node
  job.reports++
  return owner
}

/**
 * Whether nobody else owns the job, or has reported on it meanwhile, if a presumed end or a repeated report depends on it. A real end
 * never does: the job has ended, even if the store has lost that.
 */
function mayReport (job: Job, { event, presumed = false, repeated = false, ownership }: Transition, node: string | undefined): boolean {
  if (!presumed && (!repeated || isRealEnd(event))) return true
  return ownership === undefined ? job.owner === undefined || job.owner === node : job.ownership === ownership
}

function tooLate<J extends Job> (job: J): Verdict<J> {
  return { dropped: 'ended', ...(job.presumed && { presumed: job }) }
}

function isRealEnd (event: Transition['event'], presumed = false): boolean {
  return (event === 'complete' || event === 'error') && !presumed
}

/** After an end, a progress with a higher count is a late report of the ended job. One with a lower count begins a new run. */
function isNewRun (chunks: number | undefined, lastOfEnded: number | undefined): boolean {
  return chunks !== undefined && lastOfEnded !== undefined && chunks < lastOfEnded
}

function last<T> (map: ReadonlyMap<string, T> | undefined): T | undefined {
  let value: T | undefined
  if (map !== undefined) for (value of map.values());
  return value
}
