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

export type Verdict<R> =
  | { readonly job: Job<R>, readonly supersedes: boolean }
  /** `presumed`: the job that the report was about, if its end was only presumed. */
  | { readonly dropped: DropReason, readonly presumed?: Job<R> }

/** One run of an AI task. */
export interface Job<R> {
  readonly id: string
  status: 'running' | 'complete' | 'error'
  /** Whether its end was only presumed. */
  presumed: boolean
  /** How many chunks it had, as far as was told. */
  chunks: number | undefined
  /** Whatever its keeper wants to know of it. */
  readonly record: R
}

/** So many ended jobs of a session are remembered, so that nothing follows an end. */
const MAX_ENDED = 32

/**
 * The jobs of one session. With a `jobId` the rules are strict: one start, one end, nothing after it. Without one they
 * are forgiving, because the documented calls name only the session, and follow one principle: a result is never
 * dropped, and nothing leaves a spinner spinning.
 */
export class SessionJobs<R> {
  readonly #newId: () => string
  readonly #newRecord: () => R
  readonly #forgotten: (job: Job<R>) => void
  /** Both in order of their start or end, the newest last. */
  readonly #running = new Map<string, Job<R>>()
  readonly #ended = new Map<string, Job<R>>()

  /** `forgotten` is told of each job that is no longer remembered. */
  constructor (newId: () => string, newRecord: () => R, forgotten: (job: Job<R>) => void) {
    this.#newId = newId
    this.#newRecord = newRecord
    this.#forgotten = forgotten
  }

  get running (): Iterable<Job<R>> {
    return this.#running.values()
  }

  get ended (): Iterable<Job<R>> {
    return this.#ended.values()
  }

  get latestEnded (): Job<R> | undefined {
    return last(this.#ended)
  }

  get newestRunning (): Job<R> | undefined {
    return last(this.#running)
  }

  /** Those of which more may come: they run, or their end was only presumed. */
  get open (): Array<Job<R>> {
    return [...this.#running.values(), ...[...this.#ended.values()].filter(mayGoOn)]
  }

  /** Forgets what has ended. */
  forgetEnded (): void {
    for (const job of this.#ended.values()) {
      if (mayGoOn(job)) continue
      this.#ended.delete(job.id)
      this.#forgotten(job)
    }
  }

  /** Decides what becomes of a report, and changes the job's state accordingly. */
  apply (transition: Transition): Verdict<R> {
    const verdict = transition.jobId === undefined ? this.#forgiving(transition) : this.#strict(transition, transition.jobId)
    if ('job' in verdict) this.#record(verdict.job, transition)
    return verdict
  }

  #strict ({ event, presumed }: Transition, jobId: string): Verdict<R> {
    const running = this.#running.get(jobId)
    if (running !== undefined) return event === 'start' ? { dropped: 'started' } : { job: running, supersedes: false }
    const ended = this.#ended.get(jobId)
    if (ended === undefined) return { job: this.#open(jobId), supersedes: false }
    return isRealEnd(event, presumed) && ended.presumed ? { job: ended, supersedes: true } : tooLate(ended)
  }

  #forgiving ({ event, chunks, presumed }: Transition): Verdict<R> {
    if (event === 'start') return { job: this.#open(this.#newId()), supersedes: false }
    const running = this.newestRunning
    if (running !== undefined) return { job: running, supersedes: false }
    const ended = this.latestEnded
    if (isRealEnd(event, presumed)) {
      return ended?.presumed === true ? { job: ended, supersedes: true } : { job: this.#open(this.#newId()), supersedes: false }
    }
    if (event === 'progress' && (ended === undefined || isNewRun(chunks, ended.chunks))) {
      return { job: this.#open(this.#newId()), supersedes: false }
    }
    return ended === undefined ? { dropped: 'stray' } : tooLate(ended)
  }

  #open (id: string): Job<R> {
    const job: Job<R> = { id, status: 'running', presumed: false, chunks: undefined, record: this.#newRecord() }
    this.#running.set(id, job)
    return job
  }

  #record (job: Job<R>, { event, chunks, presumed = false }: Transition): void {
    job.chunks = chunks ?? job.chunks
    if (event === 'start' || event === 'progress') return
    job.status = event
    job.presumed = presumed
    this.#running.delete(job.id)
    this.#ended.delete(job.id)
    this.#ended.set(job.id, job)
    for (const oldest of this.#ended.values()) {
      if (this.#ended.size <= MAX_ENDED) break
      this.#ended.delete(oldest.id)
      this.#forgotten(oldest)
    }
  }
}

/** Whether more of it may come. */
export function mayGoOn<R> ({ status, presumed }: Job<R>): boolean {
  return status === 'running' || presumed
}

function tooLate<R> (job: Job<R>): Verdict<R> {
  return { dropped: 'ended', ...(job.presumed && { presumed: job }) }
}

function isRealEnd (event: Transition['event'], presumed = false): boolean {
  return (event === 'complete' || event === 'error') && !presumed
}

/** After an end, a progress that goes on counting is a straggler of it; one that counts anew is a new run's. */
function isNewRun (chunks: number | undefined, lastOfEnded: number | undefined): boolean {
  return chunks !== undefined && lastOfEnded !== undefined && chunks < lastOfEnded
}

function last<T> (map: ReadonlyMap<string, T>): T | undefined {
  let value: T | undefined
  for (value of map.values());
  return value
}
