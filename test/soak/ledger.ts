import type { Message } from '../support/ws-client.js'
import type { Numbered } from './server/messages.js'
import type { Journal } from './soak-failure.js'
import { NUMBERS_PER_PROCESS } from './world.js'

/** Returns the number that the app gave a message. Undefined for the server's own messages, such as a presumed end. */
function numberOf ({ n, task, result, error }: Message): number | undefined {
  for (const fields of [{ n }, task, result, error] as Array<{ n?: unknown } | undefined>) {
    if (typeof fields?.n === 'number') return fields.n
  }
  return undefined
}

/** Returns a string that is the same for all deliveries of one message. */
function identityOf (message: Message): string {
  const { type, jobId, error } = message as { type: string, jobId?: string, error?: { type: string } }
  return JSON.stringify([type, jobId, error?.type, numberOf(message)])
}

/** Number of ended jobs per session whose texts the server keeps. A reader that missed more of them can't be recovered. */
const ENDS_REMEMBERED = 32

/** The record of what the app published and what all readers received. The two must agree. */
export class Ledger {
  deliveries = 0
  readonly #journal: Journal
  /** The messages of each `<stream> <epoch>`, by their number in the stream. */
  readonly #streams = new Map<string, Map<number, { identity: string | undefined, n: number | undefined, isEnd: boolean }>>()
  /** Length of each job's text at its real end, by job id. */
  readonly #textLengths = new Map<string, number>()
  /** The last number that may still be read, by `<userId>` or `<userId> <sessionId>`. */
  readonly #revoked = new Map<string, number>()
  readonly #endedJobs = new Set<string>()

  constructor (journal: Journal) {
    this.#journal = journal
  }

  get revoked (): string[] {
    return [...this.#revoked.keys()]
  }

  /** Records that a user may read nothing above `lastNumber` from now on, in one session or in all. */
  revoke (userId: string, sessionId: string | undefined, lastNumber: number): void {
    this.#revoked.set(sessionId === undefined ? userId : `${userId} ${sessionId}`, lastNumber)
  }

  isRevoked (userId: string, sessionId?: string): boolean {
    return this.#revoked.has(userId) || (sessionId !== undefined && this.#revoked.has(`${userId} ${sessionId}`))
  }

  /** Forgets the accepted ends of jobs when a server process has died: ends that its readers have not received are lost. */
  forgetEnds (): void {
    this.#endedJobs.clear()
  }

  /** Returns whether the app ended a job and the server accepted the end. */
  hasEnded (jobId: string): boolean {
    return this.#endedJobs.has(jobId)
  }

  published (list: readonly Numbered[], endedJobs: readonly string[]): void {
    for (const jobId of endedJobs) this.#endedJobs.add(jobId)
    for (const { stream, epoch, seq, n } of list) {
      const known = this.#entry(stream, epoch, seq)
      if (known.n !== undefined && known.n !== n) {
        this.#journal.fail('readers get what was published', `${stream} ${epoch}:${seq} is message ${n}, and a reader got ${known.n}`)
      }
      known.n = n
    }
  }

  /** Records the delivery of a numbered message to a reader. */
  delivered (reader: string, userId: string, stream: string, epoch: string, seq: number, message: Message): void {
    this.deliveries++
    const identity = identityOf(message)
    const n = numberOf(message)
    const known = this.#entry(stream, epoch, seq)
    if (known.identity !== undefined && known.identity !== identity) {
      this.#journal.fail('a place in a stream holds one message', `${reader} got ${identity} at ${stream} ${epoch}:${seq}, another reader ${known.identity}`)
    }
    if (n !== undefined && known.n !== undefined && known.n !== n) {
      this.#journal.fail('readers get what was published', `${reader} got message ${n} at ${stream} ${epoch}:${seq}, published was ${known.n}`)
    }
    const before = this.#entry(stream, epoch, seq - 1).n
    if (n !== undefined && before !== undefined && before >= n) {
      this.#journal.fail('messages come in the order in which they were published', `${reader}: ${before} before ${n} in ${stream} ${epoch}:${seq}`)
    }
    known.identity = identity
    known.n ??= n
    known.isEnd = message.type === 'ai_complete' || message.type === 'ai_error'
    if (n !== undefined) this.mayRead(reader, userId, stream, n)
  }

  mayRead (reader: string, userId: string, stream: string, n: number): void {
    for (const right of [userId, `${userId} ${stream.replace(/^session:/, '')}`]) {
      const last = this.#revoked.get(right)
      if (last !== undefined && n > last) {
        this.#journal.fail('a revoked user reads nothing more', `${reader} (${userId}) got message ${n} of ${stream}, revoked after ${last}`)
      }
    }
  }

  /**
   * Returns whether the server may fail to recover a reader from this position of the same epoch, because too many jobs have ended
   * since.
   */
  mayExpire (stream: string, epoch: string, since: number): boolean {
    const entries = this.#streams.get(`${stream} ${epoch}`) ?? new Map<number, { isEnd: boolean }>()
    let ends = 0
    for (const [seq, { isEnd }] of entries) if (seq > since && isEnd) ends++
    return ends >= ENDS_REMEMBERED
  }

  /** Records that a job ended for a reader that has followed it from its beginning. All readers must have the same text. */
  ended (reader: string, jobId: string, length: number): void {
    const known = this.#textLengths.get(jobId)
    if (known !== undefined && known !== length) {
      this.#journal.fail('every reader ends with the same text', `${reader} holds ${length} units of ${jobId}, another one ${known}`)
    }
    this.#textLengths.set(jobId, length)
  }

  #entry (stream: string, epoch: string, seq: number): { identity: string | undefined, n: number | undefined, isEnd: boolean } {
    const key = `${stream} ${epoch}`
    const entries = this.#streams.get(key) ?? new Map<number, { identity: string | undefined, n: number | undefined, isEnd: boolean }>()
    this.#streams.set(key, entries)
    const entry = entries.get(seq) ?? { identity: undefined, n: undefined, isEnd: false }
    entries.set(seq, entry)
    return entry
  }
}

/** Returns an upper limit for the numbers of a server process, for one that was killed before it returned its last number. */
export function lastNumberOf (generation: number): number {
  return (generation + 1) * NUMBERS_PER_PROCESS
}
