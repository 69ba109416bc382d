import type { Message } from '../support/ws-client.js'
import type { Numbered } from './server/messages.js'
import type { Journal } from './soak-failure.js'
import { NUMBERS_PER_PROCESS } from './world.js'

/** The number that the app gave a message. Undefined for the server's own, such as a presumed end. */
function numberOf ({ n, task, result, error }: Message): number | undefined {
  for (const fields of [{ n }, task, result, error] as Array<{ n?: unknown } | undefined>) {
    if (typeof fields?.n === 'number') return fields.n
  }
  return undefined
}

/** What makes two deliveries the same message. */
function identityOf (message: Message): string {
  const { type, jobId, error } = message as { type: string, jobId?: string, error?: { type: string } }
  return JSON.stringify([type, jobId, error?.type, numberOf(message)])
}

/** Ended jobs whose texts the server remembers in one session: who missed more of them cannot be recovered. */
const ENDS_REMEMBERED = 32

/** What all readers together saw, and what the app published: no two may disagree. */
export class Ledger {
  deliveries = 0
  readonly #journal: Journal
  /** By `<stream> <epoch>`, the messages by their number in the stream. */
  readonly #streams = new Map<string, Map<number, { identity: string | undefined, n: number | undefined, isEnd: boolean }>>()
  /** By job, the length of its text when it really ended. */
  readonly #textLengths = new Map<string, number>()
  /** By `<userId>` or `<userId> <sessionId>`, the last number that may still be read. */
  readonly #revoked = new Map<string, number>()
  readonly #endedJobs = new Set<string>()

  constructor (journal: Journal) {
    this.#journal = journal
  }

  get revoked (): string[] {
    return [...this.#revoked.keys()]
  }

  /** From now on nothing above `lastNumber` may be read: a session by a user, or anything by a user. */
  revoke (userId: string, sessionId: string | undefined, lastNumber: number): void {
    this.#revoked.set(sessionId === undefined ? userId : `${userId} ${sessionId}`, lastNumber)
  }

  isRevoked (userId: string, sessionId?: string): boolean {
    return this.#revoked.has(userId) || (sessionId !== undefined && this.#revoked.has(`${userId} ${sessionId}`))
  }

  /** A server process has died: what its readers were not sent any more is lost. */
  forgetEnds (): void {
    this.#endedJobs.clear()
  }

  /** Whether the app ended a job, and the server accepted that. */
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

  /** A reader was delivered a numbered message. */
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

  /** Why a reader that says where it was may be refused a continuation in the same epoch. */
  mayExpire (stream: string, epoch: string, since: number): boolean {
    const entries = this.#streams.get(`${stream} ${epoch}`) ?? new Map<number, { isEnd: boolean }>()
    let ends = 0
    for (const [seq, { isEnd }] of entries) if (seq > since && isEnd) ends++
    return ends >= ENDS_REMEMBERED
  }

  /** A job ended for a reader that follows it from its beginning. All must hold the same text. */
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

/** The last number of a server process that was killed before it said it. */
export function lastNumberOf (generation: number): number {
  return (generation + 1) * NUMBERS_PER_PROCESS
}
