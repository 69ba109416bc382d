import { ClientError, type AppMessage, type Client, type ClientOptions, type ConnectionEstablished, type OutgoingMessage, type ServerMessage } from '../client/index.js'
import { environmentOf } from '../client/environment.js'
import { sessionsOf } from '../client/messages.js'
import { defaults } from '../client/options.js'
import { FrameThrottle } from '../client/frame-throttle.js'
import type { ConnectionOptions } from './shared-client.js'
import type { Source } from './use-client.js'

export type Message = ServerMessage | AppMessage

/** The options of a hook: those of the connection and its own callbacks. A new object on each render has no effect. */
export interface HookOptions extends ConnectionOptions, Pick<ClientOptions, 'onMessage' | 'onOpen' | 'onClose' | 'onError' | 'onGap'> {}

/** An event that may belong to a session. */
interface About { readonly sessionId?: string | undefined }

/** The part of the client's state that a hook returns, and the changes that re-render it. */
export interface Shows<View> {
  readonly what: 'messages' | 'jobs'
  select (client: Client | undefined, lastMessage: Message | undefined): View
}

/** Message types that re-render without waiting for the end of the frame. */
const ENDS: ReadonlySet<string> = new Set(['ai_start', 'ai_complete', 'ai_error'])

/**
 * Attaches one hook to a connection that several hooks may share. Keeps the hook's own sessions, callbacks and view, as a store
 * for `useSyncExternalStore`. Creating one has no side effects; `subscribe` has.
 */
export class Attachment<View extends object> {
  readonly #source: Source
  readonly #options: () => HookOptions
  readonly #sessionId: string | undefined
  readonly #shows: Shows<View>
  readonly #releases = new Map<string, () => void>()
  /** Messages sent before the hook was mounted. A child's effects run before its parent's, so a child may send that early. */
  #early: OutgoingMessage[] = []
  #wasMounted = false
  #client: Client | undefined
  #lastMessage: Message | undefined
  /** The `connection` message that `onOpen` was last called with. */
  #opened: ConnectionEstablished | undefined
  #view: View | undefined

  constructor (source: Source, options: () => HookOptions, sessionId: string | undefined, shows: Shows<View>) {
    this.#source = source
    this.#options = options
    this.#sessionId = sessionId
    this.#shows = shows
  }

  readonly subscribe = (listener: () => void): () => void => {
    const { client, release } = this.#source.acquire()
    const throttle = new FrameThrottle(environmentOf(globalThis))
    const isOurs = ({ sessionId }: About): boolean => sessionId === undefined || this.#releases.has(sessionId)
    const stops = [
      throttle.listen(listener),
      client.on('state', () => { throttle.tell(true) }),
      client.on('message', (message: Message) => {
        if (!isOurs(message as About)) return
        this.#lastMessage = message
        // First, because `onMessage` may throw.
        if (this.#shows.what === 'messages') throttle.tell(ENDS.has(message.type))
        this.#options().onMessage?.(message)
      }),
      client.on('open', (message) => { this.#open(message) }),
      client.on('close', (info) => { this.#options().onClose?.(info) }),
      client.on('error', (error) => { if (isOurs(error)) this.#options().onError?.(error) }),
      client.on('gap', (gap) => { if (isOurs(gap)) this.#options().onGap?.(gap) })
    ]
    this.#client = client
    this.#wasMounted = true
    if (this.#sessionId !== undefined) {
      this.#follow(client, this.#sessionId)
      // The job store throttles its own notifications.
      if (this.#shows.what === 'jobs') stops.push(client.jobStore(this.#sessionId).subscribe(listener))
    }
    for (const message of this.#early.splice(0)) this.send(message)
    // If the shared connection is open already, call `onOpen` as for a new one, but only after the hook is mounted.
    queueMicrotask(() => {
      if (this.#client === client && client.state === 'connected') this.#open(client.connection)
    })
    return () => {
      this.#client = undefined
      for (const stop of [...stops, ...this.#releases.values(), release]) stop()
      this.#releases.clear()
    }
  }

  /** Returns the view. It stays the same object until a field changes. */
  readonly getSnapshot = (): View => {
    const next = this.#shows.select(this.#source.peek(), this.#lastMessage)
    return this.#view = this.#view !== undefined && isSame(this.#view, next) ? this.#view : next
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
      this.#wait(message)
    } else if (type === 'subscribe' && ids !== undefined) {
      for (const id of ids) this.#follow(client, id)
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

  #wait (message: OutgoingMessage): void {
    const { onError, maxQueuedMessages } = this.#options()
    if (this.#wasMounted) onError?.(new ClientError('not_sent', 'the component was unmounted'))
    else if (this.#early.length < (maxQueuedMessages ?? defaults.maxQueuedMessages)) this.#early.push(message)
    else throw new ClientError('queue_full', `${this.#early.length} messages are queued already: see "maxQueuedMessages"`)
  }

  #open (message: ConnectionEstablished | undefined): void {
    if (message === undefined || message === this.#opened) return
    this.#opened = message
    this.#options().onOpen?.(message)
  }

  #follow (client: Client, sessionId: string): void {
    if (!this.#releases.has(sessionId)) this.#releases.set(sessionId, client.subscribe(sessionId))
  }
}

function isSame<T extends object> (a: T, b: T): boolean {
  return Object.entries(b).every(([name, value]) => Object.is(a[name as keyof T], value))
}
