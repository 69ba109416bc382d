import { delayMs } from './backoff.js'
import { Emitter } from './emitter.js'
import type { Environment } from './environment.js'
import { ClientError } from './errors.js'
import { noJobs, type JobMessage, type JobsSnapshot } from './jobs.js'
import { Link, type ConnectionState, type StateReason } from './link.js'
import { isKnown, type Answer, type AppMessage, type GapReason, type Incoming, type KnownClientMessage, type ServerMessage } from './messages.js'
import { defaults, type ClientEvents, type ClientOptions } from './options.js'
import { Pace } from './pace.js'
import { Position } from './positions.js'
import { Session } from './session.js'
import { targetUrl } from './target.js'

/** What `send` takes: the protocol's messages, and the app's own. */
export type OutgoingMessage = KnownClientMessage | (AppMessage & Record<never, never>)

/** Since the client was made. */
export interface ClientMetrics {
  /** How often it came back, and how often that was tried. */
  readonly reconnects: number
  readonly reconnectAttempts: number
  /** The latest round trip and their mean, in milliseconds. Undefined before the first `ping`: see `send`. */
  readonly latency: number | undefined
  readonly averageLatency: number | undefined
  readonly messagesSent: number
  readonly messagesReceived: number
}

/** A session's jobs as a store, for `useSyncExternalStore` and whatever works alike. */
export interface JobStore {
  /** Never changes; the same object until something does. */
  getSnapshot (): JobsSnapshot
  /** No jobs, always the same object. */
  getServerSnapshot (): JobsSnapshot
  /** Calls back after changes: of progress at most once a frame, of starts and ends at once. Returns how to stop it. */
  subscribe (listener: () => void): () => void
}

type MessageOf<App extends { type: string }, T extends string> = Extract<ServerMessage | App, { type: T }>

/** What a listener of this type is given. */
export type EventOf<App extends { type: string }, T extends string> =
  T extends keyof ClientEvents ? ClientEvents<App>[T]
    : T extends ServerMessage['type'] ? Extract<ServerMessage, { type: T }>
      : [MessageOf<App, T>] extends [never] ? AppMessage : MessageOf<App, T>

const LOST = { message: 'the server does not know this job any more: nobody can tell how it ended', type: 'lost' } as const
const UNREACHABLE = { message: 'the connection is gone: it is not known how this job goes on', type: 'lost' } as const
const DENIED = { message: 'this session may not be followed any more: it is not known how this job goes on', type: 'lost' } as const

/**
 * One connection to the server that keeps itself up. Made by `createClient`; it connects with the first `connect`,
 * `subscribe` or `send`.
 */
export class Client<App extends { type: string } = AppMessage> {
  /** Who the user is, as given. */
  readonly userId: string | undefined
  readonly #options: ClientOptions<App> & typeof defaults
  readonly #environment: Environment
  readonly #emitter: Emitter
  readonly #sessions = new Map<string, Session>()
  readonly #user = new Position()
  /** Texts that wait for a connection. */
  readonly #queue: string[] = []
  #link: Link | undefined
  /** The session in the query of this connection. */
  #inQuery: Session | undefined
  #sent = 0
  #received = 0
  #latency: number | undefined
  #latencySum = 0
  #latencyCount = 0

  /** @internal */
  constructor (options: ClientOptions<App>, environment: Environment) {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
    this.#options = { ...defaults, ...given }
    this.#environment = environment
    this.#emitter = new Emitter(environment.report)
    this.userId = options.userId
    const { onMessage, onOpen, onClose, onError, onGap, sessionId } = options
    const listeners = { message: onMessage, open: onOpen, close: onClose, error: onError, gap: onGap }
    for (const [type, listener] of Object.entries(listeners)) if (listener !== undefined) this.#emitter.on(type, listener)
    if (sessionId !== undefined) this.#session(sessionId).holders.add(this)
  }

  get state (): ConnectionState {
    return this.#link?.state ?? 'idle'
  }

  /** Why it is not connected. Undefined while it is, or is about to be for the first time. */
  get reason (): StateReason | undefined {
    return this.#link?.reason
  }

  get metrics (): ClientMetrics {
    return {
      reconnects: this.#link?.reconnects ?? 0,
      reconnectAttempts: this.#link?.attempts ?? 0,
      latency: this.#latency,
      averageLatency: this.#latencyCount > 0 ? this.#latencySum / this.#latencyCount : undefined,
      messagesSent: this.#sent,
      messagesReceived: this.#received
    }
  }

  /**
   * Listens to a type of message, the protocol's or the app's own, or to an event: `message`, `open`, `close`, `error`
   * (what the server did not accept too), `gap`, `state`. Returns how to stop it. What a listener throws is reported as
   * an uncaught error, and stops nothing.
   */
  on<T extends ServerMessage['type'] | keyof ClientEvents | App['type']> (type: T, listener: (event: EventOf<App, T>) => void): () => void {
    return this.#emitter.on(type, listener)
  }

  /**
   * Connects, at once if it is waiting. Does nothing while it is connecting or connected.
   *
   * @throws `ClientError` `no_url` or `no_websocket`, where the environment has none and none was given
   */
  connect (): void {
    this.#link ??= this.#makeLink()
    this.#link.connect()
  }

  /**
   * Follows a session, through every drop, until the function that it returns is called. What several follow is left when
   * the last one of them does.
   */
  subscribe (sessionId: string): () => void {
    const session = this.#session(sessionId)
    const holder = {}
    const isNew = session.holders.size === 0 || session.denied
    session.holders.add(holder)
    if (this.state === 'idle') this.connect()
    else if (isNew) this.#ask(session)
    return () => {
      if (!session.holders.delete(holder) || session.holders.size > 0) return
      // Not at once: a component that is mounted anew, or another one, may want it again.
      this.#environment.clock.after(0, () => { this.#leave(session) })
    }
  }

  /** Leaves a session, whoever follows it; without an id all. */
  unsubscribe (sessionId?: string): void {
    for (const session of this.#sessions.values()) {
      if (sessionId !== undefined && session.id !== sessionId) continue
      session.holders.clear()
      this.#forget(session)
    }
    if (this.state === 'connected') this.#write(JSON.stringify({ type: 'unsubscribe', sessionId }))
  }

  /**
   * Asks the server to end a job; without an id the newest one that runs. Its `ai_error` of type `cancelled` follows, or
   * an `error` event that says why not.
   *
   * @throws `ClientError` as `send`
   */
  cancel (sessionId: string, jobId = this.#sessions.get(sessionId)?.jobs.running): void {
    this.send({ type: 'cancel', sessionId, ...(jobId !== undefined && jobId !== '' && { jobId }) })
  }

  /**
   * Sends a message. While there is no connection it waits for one. `subscribe` and `unsubscribe` are as the methods;
   * the round trip of a `ping` goes into the metrics.
   *
   * @throws `ClientError` `queue_full` when too many wait, `closed` when the client is closed
   */
  send (message: OutgoingMessage): void {
    const { type, sessionId } = message as Incoming
    if (type === 'subscribe' && typeof sessionId === 'string') {
      this.#session(sessionId).holders.add(this)
      if (this.state === 'idle') this.connect()
      this.#ask(this.#session(sessionId))
    } else if (type === 'unsubscribe') {
      this.unsubscribe(sessionId)
    } else if (type === 'ping' && this.state === 'connected') {
      this.#sent++
      this.#link?.ping()
    } else {
      this.#sendOrQueue(JSON.stringify(message))
    }
  }

  /** Ends the connection for good: only `connect` begins another. */
  close (): void {
    this.#link ??= this.#makeLink()
    this.#link.close()
  }

  /** The jobs of a session. It must be followed for them to be known. */
  jobStore (sessionId: string): JobStore {
    return {
      getSnapshot: () => this.#sessions.get(sessionId)?.jobs.snapshot() ?? noJobs,
      getServerSnapshot: () => noJobs,
      subscribe: (listener) => {
        const session = this.#session(sessionId)
        const stop = session.pace.listen(listener)
        return () => {
          stop()
          this.#dispose(session)
        }
      }
    }
  }

  // ---- outwards

  #makeLink (): Link {
    const { url, WebSocket = this.#environment.WebSocket } = this.#options
    if (url === undefined && this.#environment.pageUrl === undefined) {
      throw new ClientError('no_url', 'outside of a browser the option "url" must be given, such as "wss://example.com/ws"')
    }
    if (WebSocket === undefined) {
      throw new ClientError('no_websocket', 'there is no global WebSocket here: give the option "WebSocket", such as that of the package ws')
    }
    const { getToken, reconnect, reconnectInterval, maxReconnectIntervalMs, maxReconnectAttempts, connectTimeoutMs } = this.#options
    return new Link({
      getToken, reconnect, reconnectInterval, maxReconnectIntervalMs, maxReconnectAttempts, connectTimeoutMs, WebSocket
    }, this.#environment, {
      target: () => this.#target(),
      message: (text) => { this.#receive(text) },
      latency: (ms) => {
        this.#latency = ms
        this.#latencySum += ms
        this.#latencyCount++
      },
      state: () => { this.#changed() },
      close: (info) => { this.#emitter.emit('close', info) },
      error: (error) => { this.#emitter.emit('error', error) }
    })
  }

  #target (): string {
    const [first] = this.#followed()
    this.#inQuery = first
    if (first !== undefined) first.asking = true
    return targetUrl(this.#options.url, this.#environment.pageUrl, {
      userId: this.userId,
      sessionId: first?.id,
      since: first?.position.since,
      have: first?.jobs.have,
      userSince: this.#user.since,
      attempt: this.metrics.reconnectAttempts
    })
  }

  #ask (session: Session): void {
    if (this.state !== 'connected' || session.asking) return
    session.asking = true
    this.#write(JSON.stringify({ type: 'subscribe', sessionId: session.id, since: session.position.since, have: session.jobs.have }))
  }

  #leave (session: Session): void {
    if (session.holders.size === 0 && this.#sessions.get(session.id) === session) this.unsubscribe(session.id)
  }

  #forget (session: Session): void {
    session.asking = false
    session.position.forget()
    this.#dispose(session)
  }

  /** Lets go of a session that nobody follows or looks at. */
  #dispose (session: Session): void {
    if (session.holders.size === 0 && session.pace.size === 0) this.#sessions.delete(session.id)
  }

  #sendOrQueue (text: string): void {
    if (this.state === 'idle') this.connect()
    if (this.state === 'connected') {
      this.#write(text)
    } else if (this.state === 'closed') {
      throw new ClientError('closed', 'the client is closed: call connect() first')
    } else if (this.#queue.length >= this.#options.maxQueuedMessages) {
      throw new ClientError('queue_full', `${this.#queue.length} messages wait for a connection already: see "maxQueuedMessages"`)
    } else {
      this.#queue.push(text)
    }
  }

  #write (text: string): void {
    this.#sent++
    this.#link?.send(text)
  }

  // ---- inwards

  #changed (): void {
    const { state, reason } = this
    if (state !== 'connected') for (const session of this.#sessions.values()) session.asking = false
    this.#emitter.emit('state', { state, reason })
    if (state !== 'closed') return
    const unsent = this.#queue.splice(0).length
    if (unsent > 0) this.#emitter.emit('error', new ClientError('not_sent', `${unsent} messages that waited for a connection were not sent`))
    if (reason !== 'called') for (const session of this.#sessions.values()) this.#lose(session, UNREACHABLE, 'suspended')
  }

  #receive (text: string): void {
    const message = parse(text)
    if (message === undefined) return
    this.#received++
    const { sessionId, userSeq } = message
    const session = sessionId === undefined ? undefined : this.#sessions.get(sessionId)
    if (isKnown('connection', message)) {
      this.#connected(message)
    } else if (message.type === 'pong') {
      this.#link?.pong()
      this.#emit(message)
    } else if (isKnown('subscribed', message)) {
      // One that was left meanwhile is none of ours.
      if (session === undefined || session.holders.size === 0) return
      this.#emit(message)
      this.#greet(session, message)
    } else if (isKnown('unsubscribed', message)) {
      if (message.reason !== undefined && session !== undefined) this.#deny(session)
      this.#emit(message)
    } else if (isKnown('error', message)) {
      const { code, message: why, jobId } = message
      this.#emitter.emit('message', message)
      this.#emitter.emit('error', new ClientError(code, why, { sessionId, jobId }))
      if (session?.asking === true && jobId === undefined) this.#refused(session, code)
    } else if (message.type === 'cancelling' || (sessionId === undefined && userSeq === undefined)) {
      this.#emit(message)
    } else if (session !== undefined && session.holders.size > 0) {
      this.#ofSession(session, message)
    } else if (userSeq !== undefined) {
      this.#ofUser(message, userSeq)
    }
  }

  #connected (message: Incoming & Extract<ServerMessage, { type: 'connection' }>): void {
    const first = this.#inQuery
    const gap = message.user && this.#user.greet(message.user)
    this.#link?.connected()
    this.#emit(message)
    this.#emitter.emit('open', message)
    if (gap !== undefined) this.#gap(undefined, gap)
    if (first !== undefined && message.sessionId === first.id) this.#greet(first, message)
    // Those that were wanted, or not any more, while the socket opened.
    if (first !== undefined) this.#leave(first)
    for (const session of this.#followed()) if (session !== first) this.#ask(session)
    for (const text of this.#queue.splice(0)) this.#write(text)
  }

  #greet (session: Session, answer: Answer): void {
    const gap = session.greet(answer)
    session.pace.tell(true)
    if (gap !== undefined) this.#gap(session.id, gap)
    if (answer.recovered !== true && session.position.settled) this.#lose(session, LOST, 'unseen')
  }

  /** A message of a session's stream. */
  #ofSession (session: Session, message: Incoming): void {
    const { seq, type, jobId } = message
    const { position, jobs } = session
    const isOfJob = type === 'ai_start' || type === 'ai_progress' || type === 'ai_complete' || type === 'ai_error'
    if (session.asking && (seq !== undefined || isOfJob)) return
    const wasSettled = position.settled
    let verdict = position.take(seq)
    if (verdict === 'hole' && seq !== undefined) {
      if (position.mayAskAbout(`before ${seq}`)) {
        this.#ask(session)
        return
      }
      position.jump(seq)
      this.#gap(session.id, 'overflow')
      verdict = 'new'
    }
    if (verdict === 'double') {
      // No news, but a sign of life.
      jobs.see(jobId)
      if (type === 'ai_start') jobs.revive(jobId)
    } else if (!isOfJob || this.#ofJob(session, message as JobMessage)) {
      this.#emit(message)
    }
    if (!wasSettled && position.settled) this.#lose(session, LOST, 'unseen')
  }

  /** Whether listeners are to be told. */
  #ofJob (session: Session, message: JobMessage): boolean {
    const { jobs, position } = session
    let outcome = jobs.apply(message, false)
    if (outcome === 'gap') {
      if (position.mayAskAbout(`${String(message.jobId)} from ${jobs.held(message.jobId)}`)) {
        this.#ask(session)
        return false
      }
      outcome = jobs.apply(message, true)
    }
    session.pace.tell(message.type !== 'ai_progress')
    return outcome === 'told'
  }

  #ofUser (message: Incoming, seq: number): void {
    const verdict = this.#user.take(seq)
    if (verdict === 'double') return
    if (verdict === 'hole') {
      // There is no asking again for a user's stream but to come back.
      if (this.#user.mayAskAbout(`before ${seq}`)) {
        this.#link?.replace('lost')
        return
      }
      this.#user.jump(seq)
      this.#gap(undefined, 'overflow')
    }
    this.#emit(message)
  }

  /** A `subscribe` was not accepted. */
  #refused (session: Session, code: string): void {
    session.asking = false
    if (code !== 'unavailable') {
      this.#deny(session)
      return
    }
    const { clock, random } = this.#environment
    clock.after(delayMs('backoff', ++session.retries, random(), this.#options), () => {
      if (session.holders.size > 0 && !session.asking) this.#ask(session)
    })
  }

  #deny (session: Session): void {
    session.denied = true
    session.asking = false
    session.position.forget()
    this.#lose(session, DENIED, 'all')
  }

  #lose (session: Session, error: typeof LOST | typeof UNREACHABLE | typeof DENIED, which: 'unseen' | 'suspended' | 'all'): void {
    const timestamp = new Date().toISOString()
    const lost = session.jobs.lose(error, timestamp, which)
    if (lost.length === 0) return
    session.pace.tell(true)
    for (const jobId of lost) this.#emit({ type: 'ai_error', sessionId: session.id, jobId, error, timestamp })
  }

  #gap (sessionId: string | undefined, reason: GapReason): void {
    this.#emitter.emit('gap', { sessionId, reason })
  }

  #emit (message: Incoming | AppMessage): void {
    // An app's own type may have the name of an event.
    if (!eventNames.has(message.type)) this.#emitter.emit(message.type, message)
    this.#emitter.emit('message', message)
  }

  *#followed (): Generator<Session> {
    for (const session of this.#sessions.values()) if (session.holders.size > 0) yield session
  }

  #session (id: string): Session {
    let session = this.#sessions.get(id)
    if (session === undefined) {
      session = new Session(id, new Pace(this.#environment))
      this.#sessions.set(id, session)
    }
    return session
  }
}

/** What is no message says nothing. */
function parse (text: string): Incoming | undefined {
  try {
    const message = JSON.parse(text) as Incoming | null
    return typeof message?.type === 'string' ? message : undefined
  } catch {
    return undefined
  }
}

const eventNames: ReadonlySet<string> = new Set(['message', 'open', 'close', 'error', 'gap', 'state'])
