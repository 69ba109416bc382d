import { Emitter } from './emitter.js'
import type { Environment } from './environment.js'
import { ClientError } from './errors.js'
import { Subscriptions } from './subscriptions.js'
import { noJobs, type JobsSnapshot } from './jobs.js'
import { ReconnectingSocket, type ConnectionState, type StateReason } from './reconnecting-socket.js'
import { isKnown, parseMessage, sessionsOf, type AppMessage, type ClientMessage, type ConnectionEstablished, type ServerMessage } from './messages.js'
import { resolveOptions, type ClientEvents, type ClientOptions, type Resolved } from './options.js'
import { Reconciler } from './reconciler.js'
import { isReachable, targetUrl } from './target.js'

/** What `send` takes: the protocol's messages, and the app's own. */
export type OutgoingMessage = ClientMessage | AppMessage

/** Since the client was made. */
export interface ClientMetrics {
  /** How often it came back, and how often that was tried. */
  readonly reconnects: number
  readonly reconnectAttempts: number
  /** The latest round trip of a `ping` and their mean, in milliseconds. Undefined before the first. */
  readonly latency: number | undefined
  readonly averageLatency: number | undefined
  readonly messagesSent: number
  readonly messagesReceived: number
}

/** A session's jobs as a store, for `useSyncExternalStore`, for Svelte, and for what works like one of them. */
export interface JobStore {
  /** Returns an immutable snapshot; the same object until something changes. */
  getSnapshot (): JobsSnapshot
  /** Returns no jobs, always the same object. */
  getServerSnapshot (): JobsSnapshot
  /**
   * Follows the session while it is observed. Calls the listener at once, and after each change: of progress at most once a
   * frame, of everything else at once. Returns a function that stops it.
   */
  subscribe (listener: (snapshot: JobsSnapshot) => void): () => void
}

type MessageOf<App extends { type: string }, T extends string> = Extract<ServerMessage | App, { type: T }>

/** What a listener of this type is given. */
export type EventOf<App extends { type: string }, T extends string> =
  T extends keyof ClientEvents ? ClientEvents<App>[T]
    : T extends ServerMessage['type'] ? Extract<ServerMessage, { type: T }>
      : [MessageOf<App, T>] extends [never] ? AppMessage : MessageOf<App, T>

/**
 * One connection to the server that keeps itself up. Made by `createClient`; it connects with the first `connect`,
 * `subscribe` or `send`.
 */
export class Client<App extends { type: string } = AppMessage> {
  /** Who the user is, as given. */
  readonly userId: string | undefined
  /** What the server said last when it let the client in. Undefined before that. */
  readonly connection: ConnectionEstablished | undefined
  readonly #options: Resolved<App>
  readonly #environment: Environment
  readonly #emitter: Emitter
  readonly #subscriptions: Subscriptions
  readonly #reconciler: Reconciler
  readonly #socket: ReconnectingSocket
  /** Texts that wait for a connection, or for their turn below the server's rate limit. */
  readonly #queue: string[] = []
  readonly #metrics: { -readonly [K in keyof ClientMetrics]: ClientMetrics[K] } = {
    reconnects: 0, reconnectAttempts: 0, latency: undefined, averageLatency: undefined, messagesSent: 0, messagesReceived: 0
  }

  #roundTrips = 0

  /** @internal */
  constructor (options: ClientOptions<App> | null, environment: Environment) {
    this.#options = resolveOptions(options, environment)
    this.#environment = environment
    const emitter = this.#emitter = new Emitter(environment.report)
    this.#reconciler = new Reconciler(environment.clock, this.#queue)
    const { userId, sessionId } = this.#options
    this.userId = userId
    for (const [name, value] of Object.entries(this.#options)) {
      const [, type] = /^on([A-Z]\w+)$/.exec(name) ?? []
      if (type) emitter.on(type.toLowerCase(), value as () => void)
    }
    this.#subscriptions = new Subscriptions(this.#options, environment, emitter, this.#reconciler, () => { this.#socket.replace('lost') })
    this.#socket = new ReconnectingSocket(this.#options, environment, this.#metrics, emitter, {
      target: () => this.#target(),
      message: (text) => { this.#receive(text) },
      latency: (ms) => {
        const { averageLatency = 0 } = this.#metrics
        this.#metrics.latency = ms
        this.#metrics.averageLatency = averageLatency + (ms - averageLatency) / ++this.#roundTrips
      },
      state: () => { this.#changed() }
    })
    if (sessionId !== undefined) this.#subscriptions.add(sessionId, this)
  }

  get state (): ConnectionState {
    return this.#socket.state
  }

  /** Why it is not connected. Undefined while it is, or is about to be for the first time. */
  get reason (): StateReason | undefined {
    return this.#socket.reason
  }

  get metrics (): ClientMetrics {
    return { ...this.#metrics }
  }

  /**
   * Listens to a type of message, the protocol's or the app's own, or to an event: `message`, `open`, `close`, `error`
   * (what the server did not accept too), `gap`, `subscription`, `state`. Returns a function that stops it. What a listener
   * throws is reported as an uncaught error, and stops nothing.
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
    if (!isReachable(this.#options.url, this.#environment.pageUrl)) {
      throw new ClientError('no_url', 'there is no page here: give an absolute "url"')
    }
    if (!this.#options.WebSocket) {
      throw new ClientError('no_websocket', 'there is no WebSocket here: give the option "WebSocket"')
    }
    this.#socket.connect()
  }

  /**
   * Follows a session, through every drop, until the function that it returns is called. What several follow is left when
   * the last one of them does.
   */
  subscribe (sessionId: string): () => void {
    const holder = {}
    const release = (): void => { this.#subscriptions.release(sessionId, holder) }
    this.#subscriptions.add(sessionId, holder)
    try {
      if (this.state === 'idle') this.connect()
    } catch (error) {
      release()
      throw error
    }
    return release
  }

  /** Leaves a session, whoever follows it; without an id all. */
  unsubscribe (sessionId?: string): void {
    this.#subscriptions.leave(sessionId)
  }

  /**
   * Asks the server to end a job, or without an id the newest running one. An `ai_error` of type `cancelled` follows, or an
   * `error` event that says why not: the server's code, or one that `send` throws. This method itself never throws.
   */
  cancel (sessionId: string, jobId = this.#reconciler.sessions.get(sessionId)?.jobs.running): void {
    try {
      this.send({ type: 'cancel', sessionId, ...(jobId && { jobId }) })
    } catch (error) {
      const { code, message } = error as ClientError
      this.#emitter.emit('error', new ClientError(code, message, { cause: error, sessionId, jobId }))
    }
  }

  /**
   * Sends a message. While there is no connection it waits for one, and it waits for its turn if many were sent just before,
   * because the server closes a connection that exceeds its rate limit. `subscribe` and `unsubscribe` are as the methods; the
   * round trip of a `ping` goes into the metrics.
   *
   * @throws `ClientError` `queue_full` when too many wait, `closed` when the client is closed
   */
  send (message: OutgoingMessage): void {
    const { type } = message
    const ids = sessionsOf(message)
    if (type === 'subscribe' && ids) {
      for (const id of ids) this.#subscriptions.add(id, this, true)
      if (this.state === 'idle') this.connect()
    } else if (type === 'unsubscribe') {
      for (const id of ids ?? [undefined]) this.unsubscribe(id)
    } else {
      this.#sendOrQueue(JSON.stringify(message))
    }
  }

  /** Ends the connection for good: only `connect` begins another. */
  close (): void {
    this.#socket.close()
  }

  /** The jobs of a session, as a store that follows the session while it is observed. */
  jobStore (sessionId: string): JobStore {
    const getSnapshot = (): JobsSnapshot => this.#reconciler.sessions.get(sessionId)?.snapshot ?? noJobs
    return {
      getSnapshot,
      getServerSnapshot: () => noJobs,
      subscribe: (listener) => {
        const release = this.subscribe(sessionId)
        const tell = (): void => { listener(getSnapshot()) }
        const stop = this.#subscriptions.listen(sessionId, tell)
        tell()
        return () => {
          stop()
          release()
        }
      }
    }
  }

  #target (): string {
    return targetUrl(this.#options.url, this.#environment.pageUrl, {
      userId: this.userId,
      ...this.#subscriptions.query(),
      attempt: this.#metrics.reconnectAttempts
    })
  }

  #sendOrQueue (text: string): void {
    if (this.state === 'idle') this.connect()
    if (this.state === 'closed') throw new ClientError('closed', 'the client is closed: call connect() first')
    const queue = this.#queue
    queue.push(text)
    if (this.state === 'connected') this.#reconciler.flush()
    if (queue.length <= this.#options.maxQueuedMessages) return
    queue.pop()
    throw new ClientError('queue_full', `${queue.length} messages wait already: see "maxQueuedMessages"`)
  }

  #changed (): void {
    const { state, reason } = this
    if (state !== 'connected') this.#subscriptions.disconnected()
    this.#emitter.emit('state', { state, reason })
    if (state !== 'closed') return
    const unsent = this.#queue.splice(0).length
    if (unsent > 0) this.#emitter.emit('error', new ClientError('not_sent', `${unsent} waiting messages were not sent`))
    if (reason !== 'called') this.#subscriptions.suspend()
  }

  #receive (text: string): void {
    const message = parseMessage(text)
    if (!message) return
    this.#metrics.messagesReceived++
    if (isKnown('connection', message)) {
      ;(this as { connection: ConnectionEstablished | undefined }).connection = message
      this.#reconciler.connected(message.limits, this.#socket.socket)
      this.#socket.connected(message.limits)
      this.#emitter.tell(message)
      this.#emitter.emit('open', message)
      this.#subscriptions.greet(message)
    } else if (isKnown('error', message)) {
      const { code, message: why, sessionId, jobId } = message
      this.#emitter.tell(message)
      this.#emitter.emit('error', new ClientError(code, why, { sessionId, jobId }))
      this.#subscriptions.refused(message)
    } else if (isKnown('large_message', message)) {
      this.#socket.socket?.expect(message.bytes)
    } else {
      if (message.type === 'pong') this.#socket.socket?.pong()
      if (this.#subscriptions.receive(message)) this.#emitter.tell(message)
    }
  }
}
