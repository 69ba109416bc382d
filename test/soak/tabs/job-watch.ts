import type { Message } from '../../support/ws-client.js'
import type { Ledger } from '../ledger.js'
import type { Journal } from '../soak-failure.js'
import { scriptOf, textOf, type Script } from '../world.js'

interface WatchedJob {
  status: 'running' | 'presumed' | 'lost' | 'ended'
  script: Script | undefined
  /** Position of the job's end, as `<epoch>:<seq>`. */
  endPlace: string | undefined
  /** Whether the snapshot that is being received has not contained the job yet. */
  unseen: boolean
}

const PRESUMED = ['stalled', 'interrupted']

/** The jobs of one session as one reader sees them. Each must have one end, and the producer's text at its end. */
export class JobWatch {
  readonly #reader: string
  readonly #sessionId: string
  readonly #journal: Journal
  readonly #ledger: Ledger
  readonly #jobs = new Map<string, WatchedJob>()

  constructor (reader: string, sessionId: string, journal: Journal, ledger: Ledger) {
    this.#reader = reader
    this.#sessionId = sessionId
    this.#journal = journal
    this.#ledger = ledger
  }

  /** Jobs that the reader would show as running. */
  get running (): string[] {
    return [...this.#jobs].filter(([, { status }]) => status === 'running').map(([jobId]) => jobId)
  }

  /** Jobs that the reader shows as stalled although the app ended them. */
  get overdue (): string[] {
    return [...this.#jobs].filter(([jobId, { status }]) => status === 'presumed' && this.#ledger.hasEnded(jobId)).map(([jobId]) => jobId)
  }

  get jobIds (): Iterable<string> {
    return this.#jobs.keys()
  }

  /**
   * Takes a message about a job. `text` is the job's text that the reader has now. Returns whether the job has really ended, so
   * that its text is no longer needed.
   */
  take (message: Message, epoch: string, text: string): boolean {
    const { jobId, type } = message as { jobId?: string, type: string }
    if (jobId === undefined) {
      this.#fail('every message about a job carries its jobId', message)
      return false
    }
    const known = this.#jobs.get(jobId)
    const job: WatchedJob = known ?? { status: 'running', script: undefined, endPlace: undefined, unseen: false }
    this.#jobs.set(jobId, job)
    job.unseen = false
    if (type === 'ai_start') job.script ??= scriptOf(jobId, message.task)
    if (type === 'ai_start' || type === 'ai_progress') {
      if (job.status === 'lost') job.status = 'running'
      else if (type === 'ai_start' && job.status !== 'running') this.#fail('nothing starts after its end', message)
      return false
    }
    return this.#end(jobId, job, message, `${epoch}:${String(message.seq)}`, text)
  }

  /** Prepares for a snapshot, which contains every running job. */
  expectState (): void {
    for (const job of this.#jobs.values()) job.unseen = true
  }

  /** Marks the running jobs that the complete snapshot did not contain as lost, because their ends are unknown. Returns those jobs. */
  reconcile (): string[] {
    return this.lose((job) => job.unseen)
  }

  lose (which: (job: WatchedJob) => boolean = () => true): string[] {
    const lost = [...this.#jobs].filter(([, job]) => job.status === 'running' && which(job))
    for (const [, job] of lost) job.status = 'lost'
    return lost.map(([jobId]) => jobId)
  }

  /** Marks a job as lost, because the client itself has reported that its end is unknown. */
  loseJob (jobId: string): void {
    const job = this.#jobs.get(jobId)
    if (job?.status === 'running') job.status = 'lost'
  }

  #end (jobId: string, job: WatchedJob, message: Message, place: string, text: string): boolean {
    const { error, supersedes } = message as { error?: { type: string, told?: number }, supersedes?: boolean }
    // The snapshot repeats the latest end with its original number.
    if (job.endPlace === place) return job.status === 'ended'
    if (job.status === 'ended') this.#fail('a job has exactly one end', message)
    if (job.status === 'presumed' && supersedes !== true) this.#fail('an end after a presumed end supersedes it', message)
    job.endPlace = place
    job.script ??= scriptOf(jobId, message.result ?? error)
    const isPresumed = error !== undefined && PRESUMED.includes(error.type)
    job.status = isPresumed ? 'presumed' : 'ended'
    if (job.script !== undefined) this.#checkText(jobId, textOf(job.script), text, message)
    return !isPresumed
  }

  #checkText (jobId: string, whole: string, text: string, message: Message): void {
    const { error } = message as { error?: { type: string, told?: number } }
    const expected = error === undefined ? whole : error.told === undefined ? undefined : whole.slice(0, error.told)
    if (expected === undefined ? !whole.startsWith(text) : text !== expected) {
      this.#fail(`the reader holds the producer's text (${text.length} units, the producer wrote ${expected?.length ?? `up to ${whole.length}`})`, message)
    }
    if (error === undefined || !PRESUMED.includes(error.type)) this.#ledger.ended(this.#reader, jobId, text.length)
  }

  #fail (invariant: string, message: Message): void {
    this.#journal.fail(invariant, `${this.#reader}, ${this.#sessionId}: ${JSON.stringify(message).slice(0, 600)}`)
  }
}
