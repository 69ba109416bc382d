import type { Answers, CancelResult, NodeAnswer, Revocation, Stream } from '../../lib/streams/broker.js'
import type { Clock } from '../../lib/util/clock.js'
import type { BusHistory, RunningJob } from './bus-history.js'
import type { BusMember } from './bus-member.js'

/** How long a revocation waits for confirmations, in milliseconds. */
export const REVOKE_TIMEOUT_MS = 5_000
/** How long a question waits for answers, in milliseconds. */
const ASK_TIMEOUT_MS = 5_000

/** A revocation in the control log. */
interface Revoked {
  readonly revocation: Revocation
  /** Nodes that have not confirmed it. */
  readonly waiting: Set<BusMember>
  /** Checks whether it is settled. */
  readonly check: () => void
}

/** Passes messages between the nodes of the bus: revocations, cancels, and jobs that no node runs any more. */
export class BusControl {
  readonly #members: ReadonlySet<BusMember>
  readonly #history: BusHistory
  readonly #clock: Clock
  /** The control log. It survives the loss of history, because the nodes would write it again. */
  readonly #log: Revoked[] = []
  /** Jobs that were released and not adopted in time. */
  #abandoned: RunningJob[] = []
  /** The nodes that were sent an orphaned job, by job and ownership. */
  readonly #orphans = new Map<string, BusMember>()

  constructor (members: ReadonlySet<BusMember>, history: BusHistory, clock: Clock) {
    this.#members = members
    this.#history = history
    this.#clock = clock
  }

  /** Length of the control log. */
  get length (): number {
    return this.#log.length
  }

  /** Resolves when all nodes have confirmed. Rejects after a timeout, or once only disconnected nodes are missing. */
  revoke (revocation: Revocation): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting = new Set(this.#members)
      const fail = (): void => {
        reject(new Error(`the revocation was not confirmed by ${[...waiting].map(({ name }) => name).join(', ')}`))
      }
      const timer = this.#clock.after(REVOKE_TIMEOUT_MS, fail)
      const check = (): void => {
        if ([...waiting].some(({ isLinked }) => isLinked)) return
        timer.cancel()
        if (waiting.size === 0) resolve()
        else fail()
      }
      this.#log.push({ revocation, waiting, check })
      for (const member of this.#members) if (member.isConnected) this.sendRevocations(member, this.#log.length - 1)
      check()
    })
  }

  /** Sends a node the revocations from a position in the log onwards. */
  sendRevocations (member: BusMember, from: number): void {
    this.#log.slice(from).forEach(({ revocation, waiting, check }, at) => {
      member.post((receiver) => {
        receiver.revoke(revocation)
        member.controlled = from + at + 1
        member.uplink.send(() => {
          waiting.delete(member)
          check()
        })
      })
    })
  }

  /** Passes a cancel to the owner of the job, or to the caller if there is none. */
  cancel (caller: BusMember, stream: Stream, jobId: string): CancelResult | Promise<CancelResult> {
    const owner = this.#history.job(stream, jobId)?.owner
    const target = [...this.#members].find(({ name }) => name === owner) ?? caller
    if (!target.isConnected) return 'failed'
    return new Promise((resolve) => {
      const settle = (result: CancelResult): void => {
        target.cancels.delete(settle)
        resolve(result)
      }
      target.cancels.add(settle)
      target.post((receiver) => {
        void Promise.resolve(receiver.cancel(stream, jobId)).then((result) => { target.uplink.send(() => { settle(result) }) })
      })
    })
  }

  /** Asks all other nodes. Disconnected nodes are reported as missing. */
  ask (question: string, own: NodeAnswer): Promise<Answers> {
    return new Promise((resolve) => {
      const answers = [own]
      const waiting = new Set([...this.#members].filter(({ name }) => name !== own.node))
      const finish = (): void => {
        timer.cancel()
        resolve({ answers, missing: [...waiting].map(({ name }) => name) })
      }
      const timer = this.#clock.after(ASK_TIMEOUT_MS, finish)
      const check = (): void => { if (![...waiting].some(({ isConnected }) => isConnected)) finish() }
      for (const member of waiting) {
        member.post((receiver) => {
          const answer = receiver.answer(question)
          member.uplink.send(() => {
            waiting.delete(member)
            answers.push({ node: member.name, answer })
            check()
          })
        })
      }
      check()
    })
  }

  /** Informs the node that owned a job. */
  disowned (stream: Stream, jobId: string | undefined, owner: string | undefined): void {
    if (jobId === undefined || owner === undefined) return
    const member = [...this.#members].find(({ name }) => name === owner)
    member?.notify((receiver) => { receiver.disowned(stream, jobId) })
  }

  /** Waits for a released job to be adopted. */
  released (stream: Stream, jobId: string, stallAfterMs: number): void {
    const released = this.#history.job(stream, jobId)
    if (released === undefined || stallAfterMs === Infinity) return
    this.#clock.after(stallAfterMs, () => {
      this.#abandoned.push(released)
      this.reportOrphans()
    })
  }

  /** Updates the pending revocations and the orphaned jobs after a node has joined, left or lost its connection. */
  membersChanged (): void {
    for (const { waiting, check } of this.#log) {
      for (const member of waiting) if (!this.#members.has(member)) waiting.delete(member)
      check()
    }
    this.reportOrphans()
  }

  /** Sends each job that no node runs to a connected node, and to another one if that node is killed. */
  reportOrphans (): void {
    const names = new Set([...this.#members].map(({ name }) => name))
    this.#abandoned = this.#abandoned.filter(({ stream, jobId, ownership }) => this.#history.job(stream, jobId)?.ownership === ownership)
    const ownerless = this.#history.jobs.filter(({ owner }) => owner !== undefined && !names.has(owner))
    for (const { stream, jobId, ownership } of [...ownerless, ...this.#abandoned]) {
      const key = JSON.stringify([stream, jobId, ownership])
      const before = this.#orphans.get(key)
      const target = [...this.#members].find(({ isConnected }) => isConnected)
      if (target === undefined || (before !== undefined && this.#members.has(before))) continue
      this.#orphans.set(key, target)
      target.notify((receiver) => { receiver.orphaned(stream, jobId, ownership) })
    }
  }
}
