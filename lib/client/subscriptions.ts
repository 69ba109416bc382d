import { delayMs, type BackoffOptions } from './backoff.js'
import type { Emitter } from './emitter.js'
import type { Environment } from './environment.js'
import type { JobMessage, Loss } from './jobs.js'
import { isKnown, type ConnectionEstablished, type GapReason, type Incoming, type ProtocolError, type StreamReply } from './messages.js'
import type { Gap } from './options.js'
import { Position, type Verdict } from './positions.js'
import type { Reconciler } from './reconciler.js'
import { Session } from './session.js'
import { ID, type Query } from './target.js'

/** The error messages of lost jobs. */
const LOST_MESSAGES: Readonly<Record<Loss, string>> = {
  unconfirmed: 'the server has lost this job',
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

  /** Adds a subscriber of a session. Schedules a `subscribe` if there was none yet, or in any case if `force` is set. */
  add (id: string, subscriber: object, force = false): void {
    const session = this.#getSession(id)
    session.subscribers.add(subscriber)
    if (!session.isRequested || (force && !session.inFlight)) session.isDue = true
    if (session.status === 'none' || session.status === 'refused') session.setStatus('pending')
    this.#reconciler.schedule()
  }

  /** Removes a subscriber. The `unsubscribe` is sent later, because a component may remount or another one may subscribe. */
  release (id: string, subscriber: object): void {
    this.#sessions.get(id)?.subscribers.delete(subscriber)
    this.#reconciler.schedule()
  }

  /** Removes all subscribers of a session. Without an id, removes those of all sessions. */
  remove (id?: string): void {
    for (const session of this.#sessions.values()) if (id === undefined || session.id === id) session.subscribers.clear()
    this.#reconciler.schedule()
  }

  /** Adds a listener for changes of a session. Returns a function that removes it. */
  listen (id: string, listener: () => void): () => void {
    return this.#getSession(id).throttle.listen(listener)
  }

  /** Returns the query parameters of the next attempt to connect. */
  query (): Omit<Query, 'userId' | 'attempt'> {
    // The server closes a connection with an invalid id in its query.
    const first = [...this.#sessions.values()].find(({ id, isWanted }) => isWanted && ID.test(id))
    first?.requested()
    return { sessionId: first?.id, since: first?.position.since, have: first?.jobs.have, userSince: this.#user.since }
  }

  /** Resets what was in flight on the connection, because no reply will arrive. */
  disconnected (): void {
    this.#reconciler.disconnected()
    for (const session of this.#sessions.values()) {
      session.reset()
      session.unsubscribing = 0
      if (session.isWanted) session.setStatus('pending')
    }
  }

  /** Marks the running jobs as lost, because the client has stopped reconnecting. */
  suspend (): void {
    for (const session of this.#sessions.values()) this.#loseJobs(session, 'suspended')
  }

  /** Handles the `connection` message after the listeners. It is also the reply for the session in the query. */
  connected (message: ConnectionEstablished): void {
    const { user, sessionId = '' } = message
    this.#emitGap(undefined, user && this.#user.apply(user))
    const session = this.#sessions.get(sessionId)
    if (session?.inFlight && session.isWanted) this.#subscribed(session, message)
    this.#reconciler.flush()
  }

  /** Handles any other message. Returns whether to emit it to listeners. */
  receive (message: Incoming): boolean {
    const { sessionId, userSeq } = message
    const session = this.#sessions.get(sessionId ?? '')
    if (isKnown('unsubscribed', message)) {
      // Either the reply to an `unsubscribe`, or the server has revoked access.
      if (session?.unsubscribing === 0) {
        if (message.reason) this.#deny(session)
      } else if (session && !message.reason) {
        session.unsubscribing--
        this.#reconciler.schedule()
      }
      return true
    }
    const isReply = isKnown('subscribed', message)
    // The server has lost history of the user's own messages.
    if (isReply && message.user) this.#emitGap(undefined, this.#user.apply(message.user))
    if (sessionId === undefined) return userSeq === undefined || this.#advanceUser(userSeq)
    // Messages of a session may still arrive after `unsubscribe` was sent.
    if (!session?.isRequested || session.unsubscribing > 0) return false
    if (!session.isWanted) {
      // If a new subscriber comes before the `unsubscribe` is sent, a `subscribe` recovers the messages that were ignored.
      session.isDue = true
      if (isReply) session.inFlight = false
    } else if (isReply) {
      this.#emitter.emitMessage(message)
      this.#subscribed(session, message)
    } else if (message.type === 'cancelling') {
      return true
    } else {
      this.#receiveInSession(session, message)
    }
    return false
  }

  /** Handles an `error` message. It may refuse a `subscribe` or the session in the query. */
  refused ({ sessionId = '', request, code }: ProtocolError): void {
    const session = this.#sessions.get(sessionId)
    if (!session?.inFlight || session.unsubscribing > 0 || request !== 'subscribe') return
    const wasSubscribed = session.status === 'subscribed'
    session.reset()
    if (code === 'too_many_sessions') {
      session.setStatus('waiting')
      if (this.#reconciler.limitReached()) return
    } else if (code !== 'unavailable') {
      this.#deny(session)
      return
    }
    // A failed resubscribe does not end the existing subscription.
    session.isRequested = wasSubscribed
    const { clock, random } = this.#environment
    session.retryTimer = clock.after(delayMs('backoff', ++session.retries, random(), this.#options), () => {
      session.retryTimer = undefined
      this.#reconciler.schedule()
    })
  }

  #subscribed (session: Session, reply: StreamReply): void {
    const gap = session.position.apply(reply)
    session.inFlight = false
    session.retries = 0
    if (reply.recovered) session.jobs.resume()
    else session.jobs.expectSnapshot()
    session.changed()
    session.setStatus('subscribed')
    this.#emitGap(session.id, gap)
    if (!reply.recovered) this.#reconcile(session)
    if (session.isDue) this.#reconciler.schedule()
  }

  /** Handles a message of a session's stream. */
  #receiveInSession (session: Session, message: Incoming): void {
    const { seq, type, jobId } = message
    const { position, jobs } = session
    const isJobMessage = /^ai_(?:start|progress|complete|error)$/.test(type)
    // The server sends these again after its reply.
    if ((session.inFlight || session.isDue) && (seq !== undefined || isJobMessage)) return
    const wasSettled = position.settled
    const verdict = this.#advance(position, seq, session.id)
    if (verdict === 'gap') {
      this.#resubscribe(session)
      return
    }
    if (verdict === 'duplicate') {
      // A duplicate still shows that the job exists.
      jobs.confirm(jobId)
      if (type === 'ai_start' && jobs.revive(jobId)) session.changed()
    } else if (!isJobMessage || this.#applyToJob(session, message as JobMessage)) {
      this.#emitter.emitMessage(message)
    }
    if (!wasSettled) this.#reconcile(session)
  }

  /** Applies a message of a job. Returns whether to emit it to listeners. */
  #applyToJob (session: Session, message: JobMessage): boolean {
    const { jobs, position } = session
    let outcome = jobs.apply(message, false)
    if (outcome === 'gap') {
      if (position.mayRequest(JSON.stringify(jobs.have))) {
        this.#resubscribe(session)
        return false
      }
      outcome = jobs.apply(message, true)
    }
    session.changed(message.type !== 'ai_progress')
    return outcome === 'emit'
  }

  /** Advances the position in the user's stream. Returns whether to emit the message to listeners. */
  #advanceUser (seq: number): boolean {
    const verdict = this.#advance(this.#user, seq)
    // Only a new connection can recover the user's stream.
    if (verdict === 'gap') this.#replace()
    return verdict === 'new'
  }

  /** Advances a position. Returns `gap` if missing messages should be requested. If they were before, accepts the gap. */
  #advance (position: Position, seq: number | undefined, sessionId?: string): Verdict {
    const verdict = position.advance(seq)
    if (verdict !== 'gap' || position.mayRequest()) return verdict
    position.skipTo(seq)
    this.#emitGap(sessionId, 'overflow')
    return 'new'
  }

  #resubscribe (session: Session): void {
    session.isDue = true
    this.#reconciler.schedule()
  }

  #deny (session: Session): void {
    session.reset()
    session.isDue = session.isKnown = false
    session.position.reset()
    session.setStatus('refused')
    this.#loseJobs(session, 'all')
    // There may be room for another session now.
    this.#reconciler.schedule()
  }

  /** Once the server's snapshot is complete, marks the running jobs that it does not contain as lost. */
  #reconcile (session: Session): void {
    if (!session.position.settled) return
    this.#loseJobs(session, 'unconfirmed')
    if (session.isKnown) return
    session.isKnown = true
    session.changed()
  }

  #loseJobs (session: Session, which: Loss): void {
    const error = { message: LOST_MESSAGES[which], type: 'lost', retryable: true }
    const timestamp = new Date().toISOString()
    for (const jobId of session.jobs.lose(error, timestamp, which)) {
      session.changed()
      this.#emitter.emitMessage({ type: 'ai_error', sessionId: session.id, jobId, error, timestamp })
    }
  }

  #emitGap (sessionId: string | undefined, reason: GapReason | undefined): void {
    if (reason) this.#emitter.emit('gap', { sessionId, reason } satisfies Gap)
  }

  #getSession (id: string): Session {
    const session = this.#sessions.get(id) ?? new Session(id, this.#environment, this.#emitter)
    this.#sessions.set(id, session)
    return session
  }
}
