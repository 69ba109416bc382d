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

/** The error messages of lost jobs. */
const LOST: Readonly<Record<Loss, string>> = {
  unseen: 'the server has lost this job',
  suspended: 'the connection is lost',
  all: 'access was revoked'
}

/** Tracks the client's subscriptions and the user's own stream: their positions, and the handling of their messages. */
export class Subscriptions {
  readonly #options: BackoffOptions
  readonly #environment: Environment
  readonly #emitter: Emitter
  readonly #reconciler: Reconciler
  /** Replaces the connection with a new one. */
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

  /** Adds a subscriber of a session. Schedules a `subscribe` if there was none yet, or in any case if `anew` is set. */
  add (id: string, holder: object, anew = false): void {
    const session = this.#session(id)
    session.holders.add(holder)
    if (!session.isHeld || (anew && !session.isAsking)) session.isDue = true
    if (session.status === 'none' || session.status === 'refused') session.enter('pending')
    this.#reconciler.schedule()
  }

  /** Removes a subscriber. The `unsubscribe` is sent later, because a component may remount or another one may subscribe. */
  release (id: string, holder: object): void {
    this.#sessions.get(id)?.holders.delete(holder)
    this.#reconciler.schedule()
  }

  /** Removes all subscribers of a session. Without an id, removes those of all sessions. */
  leave (id?: string): void {
    for (const session of this.#sessions.values()) if (id === undefined || session.id === id) session.holders.clear()
    this.#reconciler.schedule()
  }

  /** Adds a listener for changes of a session. Returns a function that removes it. */
  listen (id: string, listener: () => void): () => void {
    return this.#session(id).throttle.listen(listener)
  }

  /** Returns the query parameters of the next attempt to connect. */
  query (): Omit<Query, 'userId' | 'attempt'> {
    // The server closes a connection with an invalid id in its query.
    const first = [...this.#sessions.values()].find(({ id, isWanted }) => isWanted && ID.test(id))
    first?.asked()
    return { sessionId: first?.id, since: first?.position.since, have: first?.jobs.have, userSince: this.#user.since }
  }

  /** Resets what was in flight on the connection, because no reply will arrive. */
  disconnected (): void {
    this.#reconciler.disconnected()
    for (const session of this.#sessions.values()) {
      session.released()
      session.leaving = 0
      if (session.isWanted) session.enter('pending')
    }
  }

  /** Marks the running jobs as lost, because the client has stopped reconnecting. */
  suspend (): void {
    for (const session of this.#sessions.values()) this.#lose(session, 'suspended')
  }

  /** Handles the `connection` message after the listeners. It is also the reply for the session in the query. */
  greet (message: ConnectionEstablished): void {
    const { user, sessionId = '' } = message
    this.#gap(undefined, user && this.#user.greet(user))
    const session = this.#sessions.get(sessionId)
    if (session?.isAsking && session.isWanted) this.#greet(session, message)
    this.#reconciler.flush()
  }

  /** Handles any other message. Returns whether to emit it to listeners. */
  receive (message: Incoming): boolean {
    const { sessionId, userSeq } = message
    const session = this.#sessions.get(sessionId ?? '')
    if (isKnown('unsubscribed', message)) {
      // Either the reply to an `unsubscribe`, or the server has revoked access.
      if (session?.leaving === 0) {
        if (message.reason) this.#deny(session)
      } else if (session && !message.reason) {
        session.leaving--
        this.#reconciler.schedule()
      }
      return true
    }
    if (sessionId === undefined) return userSeq === undefined || this.#ofUser(userSeq)
    // Messages of a session may still arrive after `unsubscribe` was sent.
    if (!session?.isHeld || session.leaving > 0) return false
    const isAnswer = isKnown('subscribed', message)
    if (!session.isWanted) {
      // If a new subscriber comes before the `unsubscribe` is sent, a `subscribe` recovers the messages that were ignored.
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

  /** Handles an `error` message. It may refuse a `subscribe` or the session in the query. */
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
    // A failed resubscribe does not end the existing subscription.
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

  /** Handles a message of a session's stream. */
  #ofSession (session: Session, message: Incoming): void {
    const { seq, type, jobId } = message
    const { position, jobs } = session
    const isOfJob = /^ai_(?:start|progress|complete|error)$/.test(type)
    // The server sends these again after its reply.
    if ((session.isAsking || session.isDue) && (seq !== undefined || isOfJob)) return
    const wasSettled = position.settled
    const verdict = this.#take(position, seq, session.id)
    if (verdict === 'hole') {
      this.#askAgain(session)
      return
    }
    if (verdict === 'double') {
      // A duplicate still shows that the job exists.
      jobs.see(jobId)
      if (type === 'ai_start' && jobs.revive(jobId)) session.changed()
    } else if (!isOfJob || this.#ofJob(session, message as JobMessage)) {
      this.#emitter.tell(message)
    }
    if (!wasSettled) this.#reconcile(session)
  }

  /** Applies a message of a job. Returns whether to emit it to listeners. */
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

  /** Advances the position in the user's stream. Returns whether to emit the message to listeners. */
  #ofUser (seq: number): boolean {
    const verdict = this.#take(this.#user, seq)
    // Only a new connection can recover the user's stream.
    if (verdict === 'hole') this.#replace()
    return verdict === 'new'
  }

  /** Advances a position. Returns `hole` if missing messages should be requested. If they were before, accepts the gap. */
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
    // There may be room for another session now.
    this.#reconciler.schedule()
  }

  /** Once the server's snapshot is complete, marks the running jobs that it does not contain as lost. */
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
