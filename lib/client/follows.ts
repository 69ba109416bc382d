import { delayMs, type BackoffOptions } from './backoff.js'
import type { Environment } from './environment.js'
import type { JobMessage } from './jobs.js'
import { isKnown, type AIErrorInfo, type Answer, type ConnectionEstablished, type GapReason, type Incoming, type ProtocolError } from './messages.js'
import type { Gap } from './options.js'
import { Pace } from './pace.js'
import { Position } from './positions.js'
import { Session } from './session.js'
import type { Query } from './target.js'

/** What the follows need of the connection, and of those who listen. */
export interface Wire {
  /** Sends a message, if there is a connection. */
  write (message: object): boolean
  /** Takes another connection in the place of this one. */
  replace (): void
  message (message: Incoming): void
  gap (gap: Gap): void
}

const lost = (message: string): AIErrorInfo => ({ message, type: 'lost' })
const UNKNOWN = lost('the server does not know this job any more')
const UNREACHABLE = lost('there is no connection any more')
const DENIED = lost('this session may not be followed any more')

/** The sessions that are followed and the user's own stream: where each is, and what comes of it. */
export class Follows {
  readonly #options: BackoffOptions
  readonly #environment: Environment
  readonly #wire: Wire
  readonly #sessions = new Map<string, Session>()
  readonly #user = new Position()
  /** The session in the query of this connection. */
  #inQuery: Session | undefined

  constructor (options: BackoffOptions, environment: Environment, wire: Wire) {
    this.#options = options
    this.#environment = environment
    this.#wire = wire
  }

  find (id: string): Session | undefined {
    return this.#sessions.get(id)
  }

  /** Somebody wants a session to be followed. It is asked for where it is not yet, or `anew`. */
  add (id: string, holder: object, anew = false): void {
    const session = this.#session(id)
    session.holders.add(holder)
    if (!session.following || anew) this.#ask(session)
  }

  release (id: string, holder: object): void {
    const session = this.find(id)
    if (session?.holders.delete(holder) !== true) return
    // Not at once: a component that is mounted anew, or another one, may want it again.
    this.#environment.clock.after(0, () => { this.#leaveUnwanted(session) })
  }

  /** Leaves a session, whoever wants it; without an id all. */
  leave (id?: string): void {
    for (const session of this.#sessions.values()) {
      if (id !== undefined && session.id !== id) continue
      session.holders.clear()
      session.asking = session.following = false
      session.position.forget()
      this.#dispose(session)
    }
    this.#wire.write({ type: 'unsubscribe', sessionId: id })
  }

  /** Calls back when the jobs of a session change, until the function that it returns is called. */
  watch (id: string, listener: () => void): () => void {
    const session = this.#session(id)
    const stop = session.pace.listen(listener)
    return () => {
      stop()
      this.#dispose(session)
    }
  }

  /** What the next attempt says in its query. */
  query (): Omit<Query, 'userId' | 'attempt'> {
    const [first] = this.#wanted()
    this.#inQuery = first
    if (first !== undefined) first.asking = first.following = true
    return { sessionId: first?.id, since: first?.position.since, have: first?.jobs.have, userSince: this.#user.since }
  }

  /** No answer will come any more. */
  disconnected (): void {
    for (const session of this.#sessions.values()) session.asking = session.following = false
  }

  /** There will be no connection for now: nobody knows how the jobs go on. */
  suspend (): void {
    for (const session of this.#sessions.values()) this.#lose(session, UNREACHABLE, 'suspended')
  }

  /** The first message of a connection. Answers what to do when everyone has been told of it. */
  connected (message: ConnectionEstablished): () => void {
    const gap = message.user && this.#user.greet(message.user)
    return () => {
      const first = this.#inQuery
      if (gap !== undefined) this.#gap(undefined, gap)
      if (first !== undefined) {
        if (message.sessionId === first.id) this.#greet(first, message)
        // It may not be wanted any more, since the socket began to open.
        this.#leaveUnwanted(first)
      }
      for (const session of this.#wanted()) if (session !== first) this.#ask(session)
    }
  }

  /** Takes any other message. Whether listeners are to be told of it. */
  receive (message: Incoming): boolean {
    const { sessionId, userSeq } = message
    if (sessionId === undefined) return userSeq === undefined || this.#ofUser(userSeq)
    const session = this.find(sessionId)
    if (isKnown('unsubscribed', message)) {
      if (message.reason !== undefined && session !== undefined) this.#deny(session)
      return true
    }
    // Of one that was left, something may still be on its way.
    if (session === undefined || session.holders.size === 0) return false
    if (isKnown('subscribed', message)) {
      this.#wire.message(message)
      this.#greet(session, message)
      return false
    }
    if (message.type !== 'cancelling') this.#ofSession(session, message)
    return message.type === 'cancelling'
  }

  /** The server did not accept something. It may have been a `subscribe`, or the session of the query. */
  refused ({ sessionId = '', request, code }: ProtocolError): void {
    const session = this.find(sessionId)
    if (session?.asking !== true || request !== 'subscribe') return
    session.asking = false
    if (code !== 'unavailable') {
      this.#deny(session)
      return
    }
    const { clock, random } = this.#environment
    clock.after(delayMs('backoff', ++session.retries, random(), this.#options), () => { if (session.holders.size > 0) this.#ask(session) })
  }

  #ask (session: Session): void {
    const { id: sessionId, position: { since }, jobs: { have } } = session
    if (!session.asking) session.asking = session.following = this.#wire.write({ type: 'subscribe', sessionId, since, have })
  }

  #greet (session: Session, answer: Answer): void {
    const gap = session.greet(answer)
    session.pace.tell(true)
    if (gap !== undefined) this.#gap(session.id, gap)
    if (answer.recovered !== true) this.#reconcile(session)
  }

  /** A message of a session's stream. */
  #ofSession (session: Session, message: Incoming): void {
    const { seq, type, jobId } = message
    const { position, jobs } = session
    const isOfJob = /^ai_(?:start|progress|complete|error)$/.test(type)
    // It comes again behind the answer.
    if (session.asking && (seq !== undefined || isOfJob)) return
    const wasSettled = position.settled
    const verdict = position.take(seq)
    if (verdict === 'hole') {
      if (position.mayAskAbout()) {
        this.#ask(session)
        return
      }
      position.jump(seq)
      this.#gap(session.id, 'overflow')
    }
    if (verdict === 'double') {
      // No news, but a sign of life.
      jobs.see(jobId)
      if (type === 'ai_start') jobs.revive(jobId)
    } else if (!isOfJob || this.#ofJob(session, message as JobMessage)) {
      this.#wire.message(message)
    }
    if (!wasSettled) this.#reconcile(session)
  }

  /** Whether listeners are to be told. */
  #ofJob (session: Session, message: JobMessage): boolean {
    const { jobs, position } = session
    let outcome = jobs.apply(message, false)
    if (outcome === 'gap') {
      if (position.mayAskAbout(JSON.stringify(jobs.have))) {
        this.#ask(session)
        return false
      }
      outcome = jobs.apply(message, true)
    }
    session.pace.tell(message.type !== 'ai_progress')
    return outcome === 'told'
  }

  /** Whether listeners are to be told. */
  #ofUser (seq: number): boolean {
    const verdict = this.#user.take(seq)
    if (verdict !== 'hole') return verdict === 'new'
    // There is no asking again for a user's stream but to come back.
    if (this.#user.mayAskAbout()) {
      this.#wire.replace()
      return false
    }
    this.#user.jump(seq)
    this.#gap(undefined, 'overflow')
    return true
  }

  #deny (session: Session): void {
    session.following = false
    session.position.forget()
    this.#lose(session, DENIED, 'all')
  }

  /** When the present state is complete: a job that it does not mention does not run. */
  #reconcile (session: Session): void {
    if (session.position.settled) this.#lose(session, UNKNOWN, 'unseen')
  }

  #lose (session: Session, error: AIErrorInfo, which: 'unseen' | 'suspended' | 'all'): void {
    const timestamp = new Date().toISOString()
    for (const jobId of session.jobs.lose(error, timestamp, which)) {
      session.pace.tell(true)
      this.#wire.message({ type: 'ai_error', sessionId: session.id, jobId, error, timestamp })
    }
  }

  #gap (sessionId: string | undefined, reason: GapReason): void {
    this.#wire.gap({ sessionId, reason })
  }

  #leaveUnwanted (session: Session): void {
    if (session.holders.size === 0 && this.find(session.id) === session) this.leave(session.id)
  }

  /** Lets go of a session that nobody follows or looks at. */
  #dispose (session: Session): void {
    if (session.holders.size === 0 && !session.pace.isHeard) this.#sessions.delete(session.id)
  }

  #wanted (): Session[] {
    return [...this.#sessions.values()].filter(({ holders }) => holders.size > 0)
  }

  #session (id: string): Session {
    const session = this.find(id) ?? new Session(id, new Pace(this.#environment))
    this.#sessions.set(id, session)
    return session
  }
}
