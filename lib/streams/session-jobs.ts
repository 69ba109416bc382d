/** What is reported of a job. */
export interface Transition {
  readonly event: 'start' | 'progress' | 'complete' | 'error'
  /** The job that is meant. Without one it is the session's newest, by the forgiving rules. */
  readonly jobId?: string | undefined
  /** A progress's `chunksReceived`, or a result's `chunks`: how a stray progress is told from a new run. */
  readonly chunks?: number | undefined
  /** An end that nobody reported: the producer went silent, or its process ends. The real one may still come. */
  readonly presumed?: boolean
}

/** Why a report is not passed on: its job has ended, has started before, or nobody knows which job it belongs to. */
export type DropReason = 'ended' | 'started' | 'stray'

export type Verdict<J> =
  | { readonly job: J, readonly supersedes: boolean }
  /** `presumed`: the job that the report was about, if its end was only presumed. */
  | { readonly dropped: DropReason, readonly presumed?: J }

/**
 * One run of an AI task. Whoever keeps jobs extends it by what it wants to know of them: there are very many, and that
 * saves an object for each.
 */
export class Job {
  readonly id: string
  status: 'running' | 'complete' | 'error' = 'running'
  /** Whether its end was only presumed. */
  presumed = false
  /** How many chunks it had, as far as was told. */
  chunks: number | undefined

  constructor (id: string) {
    this.id = id
  }

  /** Whether more of it may come. */
  get mayGoOn (): boolean {
    return this.status === 'running' || this.presumed
  }
}

/** So many ended jobs of a session are remembered, so that nothing follows an end. */
const MAX_ENDED = 32

/**
 * The jobs of one session. With a `jobId` the rules are strict: one start, one end, nothing after it. Without one they
 * are forgiving, because the documented calls name only the session, and follow one principle: a result is never
 * dropped, and nothing leaves a spinner spinning.
 *
 * Nearly always one job runs and nobody asks for another, so that one is at hand without a look into the maps.
 */
export class SessionJobs<J extends Job> {
  readonly #create: (jobId: string | undefined) => J
  readonly #forgotten: (job: J) => void
  #newestRunning: J | undefined
  /** Those that run beside the newest, and those that ended: each in order of start or end, the newest last. */
  #others: Map<string, J> | undefined
  #ended: Map<string, J> | undefined

  /** `create` makes a job, with an id of its own if none is given; `forgotten` is told of each that is no longer remembered. */
  constructor (create: (jobId: string | undefined) => J, forgotten: (job: J) => void) {
    this.#create = create
    this.#forgotten = forgotten
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

  /** One that has ended and is remembered. */
  findEnded (jobId: string): J | undefined {
    return this.#ended?.get(jobId)
  }

  get newestRunning (): J | undefined {
    return this.#newestRunning
  }

  /** Whether more may come of any: it runs, or its end was only presumed. */
  get mayGoOn (): boolean {
    return this.#newestRunning !== undefined || this.#presumedEnded.length > 0
  }

  /** Those of which more may come. */
  get open (): readonly J[] {
    return this.#ended === undefined ? this.running : [...this.running, ...this.#presumedEnded]
  }

  get #presumedEnded (): readonly J[] {
    return [...this.ended].filter((job) => job.mayGoOn)
  }

  /** Forgets what has ended for good. */
  forgetEnded (): void {
    if (this.#ended === undefined) return
    for (const job of this.#ended.values()) if (!job.mayGoOn) this.#forget(this.#ended, job)
    if (this.#ended.size === 0) this.#ended = undefined
  }

  /** Decides what becomes of a report, and changes the job's state accordingly. */
  apply (transition: Transition): Verdict<J> {
    const verdict = transition.jobId === undefined ? this.#forgiving(transition) : this.#strict(transition, transition.jobId)
    if ('job' in verdict) this.#record(verdict.job, transition)
    return verdict
  }

  #strict ({ event, presumed }: Transition, jobId: string): Verdict<J> {
    const newest = this.#newestRunning
    const running = newest?.id === jobId ? newest : this.#others?.get(jobId)
    if (running !== undefined) return event === 'start' ? { dropped: 'started' } : { job: running, supersedes: false }
    const ended = this.#ended?.get(jobId)
    if (ended === undefined) return { job: this.#begin(jobId), supersedes: false }
    return isRealEnd(event, presumed) && ended.presumed ? { job: ended, supersedes: true } : tooLate(ended)
  }

  #forgiving ({ event, chunks, presumed }: Transition): Verdict<J> {
    if (event === 'start') return { job: this.#begin(), supersedes: false }
    const running = this.#newestRunning
    if (running !== undefined) return { job: running, supersedes: false }
    const ended = this.latestEnded
    if (isRealEnd(event, presumed)) {
      return ended?.presumed === true ? { job: ended, supersedes: true } : { job: this.#begin(), supersedes: false }
    }
    if (event === 'progress' && (ended === undefined || isNewRun(chunks, ended.chunks))) return { job: this.#begin(), supersedes: false }
    return ended === undefined ? { dropped: 'stray' } : tooLate(ended)
  }

  #begin (jobId?: string): J {
    const job = this.#create(jobId)
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
    this.#stop(job)
    const ended = this.#ended ??= new Map<string, J>()
    ended.delete(job.id)
    ended.set(job.id, job)
    for (const oldest of ended.values()) {
      if (ended.size <= MAX_ENDED) break
      this.#forget(ended, oldest)
    }
  }

  /** It runs no longer. */
  #stop (job: J): void {
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
    this.#forgotten(job)
  }
}

function tooLate<J extends Job> (job: J): Verdict<J> {
  return { dropped: 'ended', ...(job.presumed && { presumed: job }) }
}

function isRealEnd (event: Transition['event'], presumed = false): boolean {
  return (event === 'complete' || event === 'error') && !presumed
}

/** After an end, a progress that goes on counting is a straggler of it; one that counts anew is a new run's. */
function isNewRun (chunks: number | undefined, lastOfEnded: number | undefined): boolean {
  return chunks !== undefined && lastOfEnded !== undefined && chunks < lastOfEnded
}

function last<T> (map: ReadonlyMap<string, T> | undefined): T | undefined {
  let value: T | undefined
  if (map !== undefined) for (value of map.values());
  return value
}
