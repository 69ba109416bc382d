import { randomUUID } from 'node:crypto'
import type { Answers, BrokerNode, CancelResult, Revocation, Stream } from '../streams/broker.js'
import type { Clock } from '../util/clock.js'
import type { Logger } from '../util/logger.js'
import type { Keys } from './keys.js'
import type { Store } from './store.js'

/** How long `revoke` waits for the other nodes, in milliseconds. */
const REVOKE_TIMEOUT_MS = 2_000
/** How long a cancel may take on another node, in milliseconds. */
const CANCEL_TIMEOUT_MS = 10_000
/** How long a question waits for answers, in milliseconds. */
const ASK_TIMEOUT_MS = 2_000
/** Revocations that are remembered, so that each is carried out once. */
const MAX_SEEN = 10_000
/** How long this node's own revocations are written again after the store has lost history, in milliseconds. */
const REWRITE_MS = 600_000
const MAX_REWRITTEN = 1_000
/** Entries of the log that are read at once, see `Store.readLog`. */
const PAGE = 1_000
/** The log is read from a little before the last known entry on: after a failover, the clock may have gone back. */
const OVERLAP_MS = 10_000

/** A message between nodes. */
type Message =
  | { readonly type: 'revoke', readonly id: string, readonly from: string, readonly userId: string, readonly sessionId?: string }
  | { readonly type: 'revoked', readonly id: string, readonly node: string }
  | { readonly type: 'cancel', readonly id: string, readonly from: string, readonly stream: Stream, readonly jobId: string }
  | { readonly type: 'cancelled', readonly id: string, readonly result: CancelResult }
  | { readonly type: 'ask', readonly id: string, readonly from: string, readonly question: string }
  | { readonly type: 'answer', readonly id: string, readonly node: string, readonly answer: string }
  | { readonly type: 'disowned', readonly stream: Stream, readonly jobId: string }
  | { readonly type: 'joined', readonly node: string }
  | { readonly type: 'lost' }
  | { readonly type: 'seeded' }
  /** Has no effect: it only shows that the subscription works. */
  | { readonly type: 'beat' }

export interface ControlOptions {
  readonly name: string
  readonly node: BrokerNode
  readonly store: Store
  readonly keys: Keys
  readonly clock: Clock
  readonly log: Logger
  /** Called when another node has joined. */
  readonly onPeer: (node: string) => void
  /** Called when another node has noticed that the store has lost history. */
  readonly onLost: () => void
  /** Called when a node has published its jobs again. */
  readonly onSeeded: () => void
}

/** What nodes send to each other: revocations, cancels, and notices. */
export class Control {
  readonly #options: ControlOptions
  readonly #seen = new Set<string>()
  readonly #own: Array<{ readonly message: string, readonly at: number, isWritten: boolean }> = []
  /** Nodes that have not confirmed a revocation yet, and what to call then. */
  readonly #confirmations = new Map<string, (node: string) => void>()
  readonly #cancels = new Map<string, (result: CancelResult) => void>()
  readonly #questions = new Map<string, (node: string, answer: string) => void>()
  #lastId = '0-0'

  constructor (options: ControlOptions) {
    this.#options = options
  }

  /** Skips what is in the log already: this node had no subscribers then. */
  async start (): Promise<void> {
    this.#lastId = await this.#options.store.endOfLog()
    for (const [, message] of await this.#options.store.readLog(earlier(this.#lastId))) {
      const revoked = parse(message)
      if (revoked?.type === 'revoke') this.#see(revoked.id)
    }
  }

  /** Carries out the revocations that this node has missed. */
  async catchUp (): Promise<void> {
    let from = earlier(this.#lastId)
    for (;;) {
      const entries = await this.#options.store.readLog(from)
      for (const [id, message] of entries) {
        this.#lastId = id
        this.receive(message)
      }
      if (entries.length < PAGE) return
      from = `(${this.#lastId}`
    }
  }

  /**
   * Writes revocations of this node to the log again, because the store may lack them: those that it did not confirm and, after a loss of
   * history, the latest ones.
   */
  async rewrite (isLost: boolean): Promise<void> {
    const since = this.#options.clock.monotonic() - REWRITE_MS
    for (const own of this.#own) {
      if (own.isWritten && !(isLost && own.at > since)) continue
      await this.#options.store.revoke(own.message)
      own.isWritten = true
    }
  }

  async revoke (revocation: Revocation): Promise<void> {
    const { name, node, store, clock } = this.#options
    const id = randomUUID()
    this.#see(id)
    node.revoke(revocation)
    const message = JSON.stringify({ type: 'revoke', id, from: name, ...revocation })
    const own = { message, at: clock.monotonic(), isWritten: false }
    this.#own.push(own)
    if (this.#own.length > MAX_REWRITTEN) this.#own.shift()
    // Registered before it is sent, because a confirmation may overtake the reply.
    const confirmed = new Set<string>([name])
    let check = (): void => undefined
    this.#confirmations.set(id, (other) => {
      confirmed.add(other)
      check()
    })
    try {
      const missing = new Set(await store.revoke(message))
      own.isWritten = true
      await new Promise<void>((resolve, reject) => {
        const timer = clock.after(REVOKE_TIMEOUT_MS, () => {
          reject(new Error(`the revocation was not confirmed by ${[...missing].join(', ')} within ${REVOKE_TIMEOUT_MS} ms: it is carried out there before anything else is delivered`))
        })
        check = () => {
          for (const other of confirmed) missing.delete(other)
          if (missing.size > 0) return
          timer.cancel()
          resolve()
        }
        check()
      })
    } finally {
      this.#confirmations.delete(id)
    }
  }

  /** Passes a cancel to another node. */
  async cancel (owner: string, stream: Stream, jobId: string): Promise<CancelResult> {
    const { name, store, keys, clock } = this.#options
    const id = randomUUID()
    const result = new Promise<CancelResult>((resolve) => { this.#cancels.set(id, resolve) })
    const timer = clock.after(CANCEL_TIMEOUT_MS, () => { this.#cancels.get(id)?.('failed') })
    try {
      const receivers = await store.send(keys.node(owner), { type: 'cancel', id, from: name, stream, jobId })
      return receivers === 0 ? 'failed' : await result
    } finally {
      timer.cancel()
      this.#cancels.delete(id)
    }
  }

  /** Asks other nodes, and this one. */
  async ask (question: string, peers: readonly string[]): Promise<Answers> {
    const { name, node, store, keys, clock } = this.#options
    const answers = [{ node: name, answer: node.answer(question) }]
    const missing = new Set(peers)
    if (missing.size === 0) return { answers, missing: [] }
    const id = randomUUID()
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        timer.cancel()
        resolve()
      }
      const timer = clock.after(ASK_TIMEOUT_MS, finish)
      this.#questions.set(id, (peer, answer) => {
        if (!missing.delete(peer)) return
        answers.push({ node: peer, answer })
        if (missing.size === 0) finish()
      })
      store.send(keys.control, { type: 'ask', id, from: name, question }).catch(finish)
    })
    this.#questions.delete(id)
    return { answers, missing: [...missing] }
  }

  /** Tells all nodes something. */
  async tell (message: { readonly type: 'lost' | 'seeded' }): Promise<void> {
    await this.#options.store.send(this.#options.keys.control, message)
  }

  async introduce (): Promise<void> {
    await this.#options.store.send(this.#options.keys.control, { type: 'joined', node: this.#options.name })
  }

  /** Rejects if this node's own channel is not subscribed at the server that executes its commands. */
  async checkSubscription (): Promise<void> {
    const receivers = await this.#options.store.send(this.#options.keys.node(this.#options.name), { type: 'beat' })
    if (receivers === 0) throw new Error('the two connections of this node are with different servers')
  }

  receive (text: string): void {
    const message = parse(text)
    if (message === undefined) return
    const { node } = this.#options
    switch (message.type) {
      case 'revoke':
        this.#carryOut(message)
        break
      case 'revoked':
        this.#confirmations.get(message.id)?.(message.node)
        break
      case 'cancel':
        void this.#answerCancel(message)
        break
      case 'cancelled':
        this.#cancels.get(message.id)?.(message.result)
        break
      case 'ask':
        this.#answer(message)
        break
      case 'answer':
        this.#questions.get(message.id)?.(message.node, message.answer)
        break
      case 'disowned':
        node.disowned(message.stream, message.jobId)
        break
      case 'joined':
        this.#options.onPeer(message.node)
        break
      case 'lost':
        this.#options.onLost()
        break
      case 'seeded':
        this.#options.onSeeded()
        break
      case 'beat':
    }
  }

  #carryOut ({ id, from, userId, sessionId }: Extract<Message, { type: 'revoke' }>): void {
    const { name, node, store, keys } = this.#options
    if (!this.#seen.has(id)) {
      this.#see(id)
      node.revoke(sessionId === undefined ? { userId } : { userId, sessionId })
    }
    if (from === name) return
    store.send(keys.node(from), { type: 'revoked', id, node: name }).catch(() => {
      // The other node reports that this one is missing.
    })
  }

  async #answerCancel ({ id, from, stream, jobId }: Extract<Message, { type: 'cancel' }>): Promise<void> {
    const { node, store, keys, log } = this.#options
    try {
      const result = await node.cancel(stream, jobId)
      await store.send(keys.node(from), { type: 'cancelled', id, result })
    } catch (err) {
      log.warn({ err, stream }, 'the result of a cancel could not be sent to the node that requested it')
    }
  }

  #answer ({ id, from, question }: Extract<Message, { type: 'ask' }>): void {
    const { name, node, store, keys } = this.#options
    if (from === name) return
    store.send(keys.node(from), { type: 'answer', id, node: name, answer: node.answer(question) }).catch(() => {
      // The other node reports that this one is missing.
    })
  }

  #see (id: string): void {
    this.#seen.add(id)
    for (const oldest of this.#seen) {
      if (this.#seen.size <= MAX_SEEN) break
      this.#seen.delete(oldest)
    }
  }
}

function parse (text: string): Message | undefined {
  try {
    return Object(JSON.parse(text)) as Message
  } catch {
    return undefined
  }
}

/** Returns an id a little before another one. */
function earlier (id: string): string {
  return `${Math.max(0, Number(id.split('-')[0]) - OVERLAP_MS)}-0`
}
