import { ClientError, type AppMessage, type Client, type ClientOptions, type ConnectionEstablished, type OutgoingMessage, type ServerMessage } from '../client/index.js'
import { environmentOf } from '../client/environment.js'
import { sessionsOf } from '../client/messages.js'
import { defaults } from '../client/options.js'
import { FrameThrottle } from '../client/frame-throttle.js'
import type { ConnectionOptions } from './shared-client.js'
import type { ClientSource } from './use-client.js'

export type Message = ServerMessage | AppMessage

/** The options of a hook: those of the connection and its own callbacks. A new object on each render has no effect. */
export interface HookOptions extends ConnectionOptions, Pick<ClientOptions, 'onMessage' | 'onOpen' | 'onClose' | 'onError' | 'onGap'> {}

/** An event that may belong to a session. */
interface SessionEvent { readonly sessionId?: string | undefined }

/** The part of the client's state that a hook returns, and the changes that re-render it. */
export interface ViewOptions<View> {
  readonly rerenderOn: 'messages' | 'jobs'
  select (client: Client | undefined, lastMessage: Message | undefined): View
}

/** Message types that re-render without waiting for the end of the frame. */
const URGENT_TYPES: ReadonlySet<string> = new Set(['ai_start', 'ai_complete', 'ai_error'])

/**
 * Attaches one hook to a connection that several hooks may share. Keeps the hook's own sessions, callbacks and view, as a store
 * for `useSyncExternalStore`. Creating one has no side effects; `subscribe` has.
 */
export class Attachment<View extends object> {
  readonly #source: ClientSource
  readonly #options: () => HookOptions
  readonly #sessionId: string | undefined
  readonly #viewOptions: ViewOptions<View>
  readonly #releases = new Map<string, () => void>()
  /** Messages sent before the hook was mounted. A child's effects run before its parent's, so a child may send that early. */
  #queue: OutgoingMessage[] = []
  #wasMounted = false
  #client: Client | undefined
  #lastMessage: Message | undefined
  /** The `connection` message that `onOpen` was last called with. */
  #lastOpened: ConnectionEstablished | undefined
  #view: View | undefined

  constructor (source: ClientSource, options: () => HookOptions, sessionId: string | undefined, viewOptions: ViewOptions<View>) {
    this.#source = source
    this.#options = options
    this.#sessionId = sessionId
    this.#viewOptions = viewOptions
  }

  readonly subscribe = (listener: () => void): () => void => {
    const { client, release } = this.#source.acquire()
    const throttle = new FrameThrottle(environmentOf(globalThis))
    const isOurs = ({ sessionId }: SessionEvent): boolean => sessionId === undefined || this.#releases.has(sessionId)
    const cleanups = [
      throttle.listen(listener),
      client.on('state', () => { throttle.notify(true) }),
      client.on('message', (message: Message) => {
        if (!isOurs(message as SessionEvent)) return
        this.#lastMessage = message
        // First, because `onMessage` may throw.
        if (this.#viewOptions.rerenderOn === 'messages') throttle.notify(URGENT_TYPES.has(message.type))
        this.#options().onMessage?.(message)
      }),
      client.on('open', (message) => { this.#callOnOpen(message) }),
      client.on('close', (info) => { this.#options().onClose?.(info) }),
      client.on('error', (error) => { if (isOurs(error)) this.#options().onError?.(error) }),
      client.on('gap', (gap) => { if (isOurs(gap)) this.#options().onGap?.(gap) })
    ]
    this.#client = client
    this.#wasMounted = true
    if (this.#sessionId !== undefined) {
      this.#subscribeTo(client, this.#sessionId)
      // The job store throttles its own notifications.
      if (this.#viewOptions.rerenderOn === 'jobs') cleanups.push(client.jobStore(this.#sessionId).subscribe(listener))
    }
    for (const message of this.#queue.splice(0)) this.send(message)
    // If the shared connection is open already, call `onOpen` as for a new one, but only after the hook is mounted.
    queueMicrotask(() => {
      if (this.#client === client && client.state === 'connected') this.#callOnOpen(client.connection)
    })
    return () => {
      this.#client = undefined
      for (const stop of [...cleanups, ...this.#releases.values(), release]) stop()
      this.#releases.clear()
    }
  }

  /** Returns the view. It stays the same object until a field changes. */
  readonly getSnapshot = (): View => {
    const next = this.#viewOptions.select(this.#source.peek(), this.#lastMessage)
    return this.#view = this.#view !== undefined && hasSameFields(this.#view, next) ? this.#view : next
  }

  /**
   * Sends a message like `client.send`. `subscribe` and `unsubscribe` affect only this hook. After the hook was unmounted,
   * nothing is sent and `onError` is called with `not_sent`.
   */
  readonly send = (message: OutgoingMessage): void => {
    const client = this.#client
    const { type } = message
    const ids = sessionsOf(message)
    if (client === undefined) {
      this.#enqueue(message)
    } else if (type === 'subscribe' && ids !== undefined) {
      for (const id of ids) this.#subscribeTo(client, id)
    } else if (type === 'unsubscribe') {
      for (const [id, leave] of this.#releases) {
        if (ids?.includes(id) === false) continue
        leave()
        this.#releases.delete(id)
      }
    } else {
      client.send(message)
    }
  }

  #enqueue (message: OutgoingMessage): void {
    const { onError, maxQueuedMessages } = this.#options()
    if (this.#wasMounted) onError?.(new ClientError('not_sent', 'the component was unmounted'))
    else if (this.#queue.length < (maxQueuedMessages ?? defaults.maxQueuedMessages)) this.#queue.push(message)
    else throw new ClientError('queue_full', `${this.#queue.length} messages are queued already: see "maxQueuedMessages"`)
  }

  #callOnOpen (message: ConnectionEstablished | undefined): void {
    if (message === undefined || message === this.#lastOpened) return
    this.#lastOpened = message
    this.#options().onOpen?.(message)
  }

  #subscribeTo (client: Client, sessionId: string): void {
    if (!this.#releases.has(sessionId)) this.#releases.set(sessionId, client.subscribe(sessionId))
  }
}

function hasSameFields<T extends object> (a: T, b: T): boolean {
  return Object.entries(b).every(([name, value]) => Object.is(a[name as keyof T], value))
}
