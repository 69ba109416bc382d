import { delayMs, type BackoffOptions } from './backoff.js'
import type { Emitter } from './emitter.js'
import type { Environment } from './environment.js'
import type { JobMessage, Loss } from './jobs.js'
import { isKnown, type Answer, type ConnectionEstablished, type GapReason, type Incoming, type ProtocolError } from './messages.js'
import type { Gap } from './options.js'
import { Position, type Verdict } from './positions.js'
import type { Reconciler } from './reconciler.js'
import { Session } from './session.js'
import { ID, type Query } from './target.js'

/** Why nobody knows how jobs go on. */
const LOST: Readonly<Record<Loss, string>> = {
  unseen: 'the server has lost this job',
  suspended: 'the connection is lost',
  all: 'access was revoked'
}

/** The sessions that are followed and the user's own stream: where each is, and what comes of it. */
export class Subscriptions {
  readonly #options: BackoffOptions
  readonly #environment: Environment
  readonly #emitter: Emitter
  readonly #reconciler: Reconciler
  /** Takes another connection in the place of this one. */
  readonly #replace: () => void
  readonly #sessions: Map<string, Session>
  readonly #user = new Position()

  constructor (options: BackoffOptions, environment: Environment, emitter: Emitter, reconciler: Reconciler, replace: () => void) {
    this.#options = options
    this.#environment = environment
    this.#emitter = emitter
    this.#reconciler = reconciler
    this.#sessions = reconciler.sessions
    this.#replace = replace
  }

  /** Somebody wants a session to be followed. It is asked for where it is not yet, or `anew`. */
  add (id: string, holder: object, anew = false): void {
    const session = this.#session(id)
    session.holders.add(holder)
    if (!session.isHeld || (anew && !session.isAsking)) session.isDue = true
    if (session.status === 'none' || session.status === 'refused') session.enter('pending')
    this.#reconciler.schedule()
  }

  /** It is left soon, and not at once: a component that is mounted anew, or another one, may want it again. */
  release (id: string, holder: object): void {
    this.#sessions.get(id)?.holders.delete(holder)
    this.#reconciler.schedule()
  }

  /** Leaves a session, whoever wants it; without an id all. */
  leave (id?: string): void {
    for (const session of this.#sessions.values()) if (id === undefined || session.id === id) session.holders.clear()
    this.#reconciler.schedule()
  }

  /** Calls back when something of a session changes, until the function that it returns is called. */
  listen (id: string, listener: () => void): () => void {
    return this.#session(id).throttle.listen(listener)
  }

  /** What the next attempt says in its query. */
  query (): Omit<Query, 'userId' | 'attempt'> {
    // An id that is none would end the connection.
    const first = [...this.#sessions.values()].find(({ id, isWanted }) => isWanted && ID.test(id))
    first?.asked()
    return { sessionId: first?.id, since: first?.position.since, have: first?.jobs.have, userSince: this.#user.since }
  }

  /** No answer will come any more. */
  disconnected (): void {
    this.#reconciler.disconnected()
    for (const session of this.#sessions.values()) {
      session.released()
      session.leaving = 0
      if (session.isWanted) session.enter('pending')
    }
  }

  /** There will be no connection for now: nobody knows how the jobs go on. */
  suspend (): void {
    for (const session of this.#sessions.values()) this.#lose(session, 'suspended')
  }

  /** The first message of a connection, which every listener has seen. It answers for the session of the query. */
  greet (message: ConnectionEstablished): void {
    const { user, sessionId = '' } = message
    this.#gap(undefined, user && this.#user.greet(user))
    const session = this.#sessions.get(sessionId)
    if (session?.isAsking && session.isWanted) this.#greet(session, message)
    this.#reconciler.flush()
  }

  /** Takes any other message. Whether listeners are to be told of it. */
  receive (message: Incoming): boolean {
    const { sessionId, userSeq } = message
    const session = this.#sessions.get(sessionId ?? '')
    if (isKnown('unsubscribed', message)) {
      // As it was asked to, or because the server took the right back.
      if (session?.leaving === 0) {
        if (message.reason) this.#deny(session)
      } else if (session && !message.reason) {
        session.leaving--
        this.#reconciler.schedule()
      }
      return true
    }
    if (sessionId === undefined) return userSeq === undefined || this.#ofUser(userSeq)
    // Of one that was left, something may still be on its way.
    if (!session?.isHeld || session.leaving > 0) return false
    const isAnswer = isKnown('subscribed', message)
    if (!session.isWanted) {
      // If somebody wants it again before it is left, it is asked for what was not listened to.
      session.isDue = true
      if (isAnswer) session.isAsking = false
    } else if (isAnswer) {
      this.#emitter.tell(message)
      this.#greet(session, message)
    } else if (message.type === 'cancelling') {
      return true
    } else {
      this.#ofSession(session, message)
    }
    return false
  }

  /** The server did not accept something. It may have been a `subscribe`, or the session of the query. */
  refused ({ sessionId = '', request, code }: ProtocolError): void {
    const session = this.#sessions.get(sessionId)
    if (!session?.isAsking || session.leaving > 0 || request !== 'subscribe') return
    const wasSubscribed = session.status === 'subscribed'
    session.released()
    if (code === 'too_many_sessions') {
      session.enter('waiting')
      if (this.#reconciler.full()) return
    } else if (code !== 'unavailable') {
      this.#deny(session)
      return
    }
    // One that was followed before still is.
    session.isHeld = wasSubscribed
    const { clock, random } = this.#environment
    session.pause = clock.after(delayMs('backoff', ++session.retries, random(), this.#options), () => {
      session.pause = undefined
      this.#reconciler.schedule()
    })
  }

  #greet (session: Session, answer: Answer): void {
    const gap = session.position.greet(answer)
    session.isAsking = false
    session.retries = 0
    if (answer.recovered) session.jobs.resume()
    else session.jobs.expectState()
    session.changed()
    session.enter('subscribed')
    this.#gap(session.id, gap)
    if (!answer.recovered) this.#reconcile(session)
    if (session.isDue) this.#reconciler.schedule()
  }

  /** A message of a session's stream. */
  #ofSession (session: Session, message: Incoming): void {
    const { seq, type, jobId } = message
    const { position, jobs } = session
    const isOfJob = /^ai_(?:start|progress|complete|error)$/.test(type)
    // It comes again behind the answer.
    if ((session.isAsking || session.isDue) && (seq !== undefined || isOfJob)) return
    const wasSettled = position.settled
    const verdict = this.#take(position, seq, session.id)
    if (verdict === 'hole') {
      this.#askAgain(session)
      return
    }
    if (verdict === 'double') {
      // No news, but a sign of life.
      jobs.see(jobId)
      if (type === 'ai_start' && jobs.revive(jobId)) session.changed()
    } else if (!isOfJob || this.#ofJob(session, message as JobMessage)) {
      this.#emitter.tell(message)
    }
    if (!wasSettled) this.#reconcile(session)
  }

  /** Whether listeners are to be told. */
  #ofJob (session: Session, message: JobMessage): boolean {
    const { jobs, position } = session
    let outcome = jobs.apply(message, false)
    if (outcome === 'gap') {
      if (position.mayAskAbout(JSON.stringify(jobs.have))) {
        this.#askAgain(session)
        return false
      }
      outcome = jobs.apply(message, true)
    }
    session.changed(message.type !== 'ai_progress')
    return outcome === 'told'
  }

  /** Whether listeners are to be told. */
  #ofUser (seq: number): boolean {
    const verdict = this.#take(this.#user, seq)
    // There is no asking again for a user's stream but to come back.
    if (verdict === 'hole') this.#replace()
    return verdict === 'new'
  }

  /** Takes a number of a stream. A `hole` is worth a question: any other is accepted as a gap. */
  #take (position: Position, seq: number | undefined, sessionId?: string): Verdict {
    const verdict = position.take(seq)
    if (verdict !== 'hole' || position.mayAskAbout()) return verdict
    position.jump(seq)
    this.#gap(sessionId, 'overflow')
    return 'new'
  }

  #askAgain (session: Session): void {
    session.isDue = true
    this.#reconciler.schedule()
  }

  #deny (session: Session): void {
    session.released()
    session.isDue = session.isKnown = false
    session.position.forget()
    session.enter('refused')
    this.#lose(session, 'all')
    // There is room for another one.
    this.#reconciler.schedule()
  }

  /** When the present state is complete: a job that it does not mention does not run. */
  #reconcile (session: Session): void {
    if (!session.position.settled) return
    this.#lose(session, 'unseen')
    if (session.isKnown) return
    session.isKnown = true
    session.changed()
  }

  #lose (session: Session, which: Loss): void {
    const error = { message: LOST[which], type: 'lost', retryable: true }
    const timestamp = new Date().toISOString()
    for (const jobId of session.jobs.lose(error, timestamp, which)) {
      session.changed()
      this.#emitter.tell({ type: 'ai_error', sessionId: session.id, jobId, error, timestamp })
    }
  }

  #gap (sessionId: string | undefined, reason: GapReason | undefined): void {
    if (reason) this.#emitter.emit('gap', { sessionId, reason } satisfies Gap)
  }

  #session (id: string): Session {
    const session = this.#sessions.get(id) ?? new Session(id, this.#environment, this.#emitter)
    this.#sessions.set(id, session)
    return session
  }
}
