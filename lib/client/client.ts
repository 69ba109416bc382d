import { Emitter } from './emitter.js'
import type { Environment } from './environment.js'
import { ClientError } from './errors.js'
import { Subscriptions } from './subscriptions.js'
import { noJobs, type JobsSnapshot } from './jobs.js'
import { ReconnectingSocket, type ConnectionState, type StateReason } from './reconnecting-socket.js'
import { isKnown, parseMessage, sessionsOf, type AppMessage, type ClientMessage, type ConnectionEstablished, type ServerMessage } from './messages.js'
import { resolveOptions, type ClientEvents, type ClientOptions, type Resolved } from './options.js'
import { Reconciler } from './reconciler.js'
import { isResolvable, targetUrl } from './target.js'

/** A message that `send` accepts: the protocol's messages and the app's own. */
export type OutgoingMessage = ClientMessage | AppMessage

/** Counters and latencies since the client was created. */
export interface ClientMetrics {
  /** Successful reconnects. */
  readonly reconnects: number
  /** Attempts to reconnect, successful or not. */
  readonly reconnectAttempts: number
  /** The latest round trip of a `ping`, in milliseconds. Undefined before the first. */
  readonly latency: number | undefined
  /** The mean round trip of all `ping` messages, in milliseconds. Undefined before the first. */
  readonly averageLatency: number | undefined
  readonly messagesSent: number
  readonly messagesReceived: number
}

/** A store of one session's jobs, in the shape that `useSyncExternalStore` and Svelte expect. */
export interface JobStore {
  /** Returns an immutable snapshot; the same object until something changes. */
  getSnapshot (): JobsSnapshot
  /** Returns an empty snapshot, always the same object. */
  getServerSnapshot (): JobsSnapshot
  /**
   * Subscribes to the session and calls the listener immediately, then after each change. Progress is throttled to one call per
   * frame; any other change calls the listener without delay. Returns a function that unsubscribes.
   */
  subscribe (listener: (snapshot: JobsSnapshot) => void): () => void
}

type MessageOf<App extends { type: string }, T extends string> = Extract<ServerMessage | App, { type: T }>

/** The event that a listener of this type receives. */
export type EventOf<App extends { type: string }, T extends string> =
  T extends keyof ClientEvents ? ClientEvents<App>[T]
    : T extends ServerMessage['type'] ? Extract<ServerMessage, { type: T }>
      : [MessageOf<App, T>] extends [never] ? AppMessage : MessageOf<App, T>

/**
 * A connection to the server that reconnects by itself. `createClient` creates it. It connects on the first call of `connect`,
 * `subscribe` or `send`.
 */
export class Client<App extends { type: string } = AppMessage> {
  /** The option `userId`. */
  readonly userId: string | undefined
  /** The server's latest `connection` message. Undefined before the first. */
  readonly connection: ConnectionEstablished | undefined
  readonly #options: Resolved<App>
  readonly #environment: Environment
  readonly #emitter: Emitter
  readonly #subscriptions: Subscriptions
  readonly #reconciler: Reconciler
  readonly #socket: ReconnectingSocket
  /** Serialized messages that wait for a connection, or because of the server's rate limit. */
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
      state: () => { this.#stateChanged() }
    })
    if (sessionId !== undefined) this.#subscriptions.add(sessionId, this)
  }

  get state (): ConnectionState {
    return this.#socket.state
  }

  /** Why the client is not connected. Undefined before the first attempt, and while connecting or connected. */
  get reason (): StateReason | undefined {
    return this.#socket.reason
  }

  get metrics (): ClientMetrics {
    return { ...this.#metrics }
  }

  /**
   * Adds a listener for a message type (the protocol's or the app's own) or for an event: `message`, `open`, `close`, `error`,
   * `gap`, `subscription`, `state`. The `error` event also reports the server's `error` messages. Returns a function that
   * removes the listener. If a listener throws, the error is reported as uncaught, and the other listeners still run.
   */
  on<T extends ServerMessage['type'] | keyof ClientEvents | App['type']> (type: T, listener: (event: EventOf<App, T>) => void): () => void {
    return this.#emitter.on(type, listener)
  }

  /**
   * Connects. If the client waits for its next attempt, that attempt starts now. Does nothing while connecting or connected.
   *
   * @throws `ClientError` `no_url` or `no_websocket` if neither the environment nor the options provide one
   */
  connect (): void {
    if (!isResolvable(this.#options.url, this.#environment.pageUrl)) {
      throw new ClientError('no_url', 'outside a browser, "url" must be absolute')
    }
    if (!this.#options.WebSocket) {
      throw new ClientError('no_websocket', 'no global WebSocket: pass the option "WebSocket"')
    }
    this.#socket.connect()
  }

  /**
   * Subscribes to a session, and resubscribes after every reconnect. Returns a function that unsubscribes. Several calls share
   * one subscription, which ends when the last of them unsubscribes.
   *
   * @throws `ClientError` as `connect`, if the client was idle
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

  /** Ends the subscription to a session for all its subscribers. Without an id, ends all subscriptions. */
  unsubscribe (sessionId?: string): void {
    this.#subscriptions.remove(sessionId)
  }

  /**
   * Asks the server to cancel a job: without an id, the session's newest running one. The result is an `ai_error` of type
   * `cancelled`, or an `error` event with the server's error code or a code that `send` throws. This method never throws.
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
   * Sends a message. Without a connection the message is queued. It is also queued while it would exceed the server's rate
   * limit, because the server closes a connection that exceeds it. Messages of type `subscribe` and `unsubscribe` work like the
   * methods. The round trip of a `ping` is measured for `metrics`.
   *
   * @throws `ClientError` `queue_full` if the queue is full, `closed` if the client is closed, and as `connect` if it was idle
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

  /** Closes the connection. The client reconnects only when `connect` is called. */
  close (): void {
    this.#socket.close()
  }

  /** Returns a store of a session's jobs. It is subscribed to the session while the store has listeners. */
  jobStore (sessionId: string): JobStore {
    const getSnapshot = (): JobsSnapshot => this.#reconciler.sessions.get(sessionId)?.snapshot ?? noJobs
    return {
      getSnapshot,
      getServerSnapshot: () => noJobs,
      subscribe: (listener) => {
        const release = this.subscribe(sessionId)
        const notify = (): void => { listener(getSnapshot()) }
        const stop = this.#subscriptions.listen(sessionId, notify)
        notify()
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
    throw new ClientError('queue_full', `${queue.length} messages are queued already: see "maxQueuedMessages"`)
  }

  #stateChanged (): void {
    const { state, reason } = this
    if (state !== 'connected') this.#subscriptions.disconnected()
    this.#emitter.emit('state', { state, reason })
    if (state !== 'closed') return
    const unsent = this.#queue.splice(0).length
    if (unsent > 0) this.#emitter.emit('error', new ClientError('not_sent', `${unsent} queued messages were not sent`))
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
      this.#emitter.emitMessage(message)
      this.#emitter.emit('open', message)
      this.#subscriptions.connected(message)
    } else if (isKnown('error', message)) {
      const { code, message: why, sessionId, jobId } = message
      this.#emitter.emitMessage(message)
      this.#emitter.emit('error', new ClientError(code, why, { sessionId, jobId }))
      this.#subscriptions.refused(message)
    } else if (isKnown('large_message', message)) {
      this.#socket.socket?.expectLarge(message.bytes)
    } else {
      if (message.type === 'pong') this.#socket.socket?.pong()
      if (this.#subscriptions.receive(message)) this.#emitter.emitMessage(message)
    }
  }
}
