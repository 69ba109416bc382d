import { Client } from '../../lib/client/client.js'
import type { Environment, WakeEvent, WebSocketLike } from '../../lib/client/environment.js'
import type { ClientOptions } from '../../lib/client/options.js'
import { FakeClock } from './fake-clock.js'
import type { Message } from './ws-client.js'

type Handler = (event: object) => void

/** The events that a client has emitted, each with its type. */
export interface Telling { told: Array<[kind: string, event: Message]> }

/** A fake `WebSocket`. The test acts as the server. */
export class FakeSocket implements WebSocketLike {
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  readonly url: URL
  readonly protocols: string[]
  readonly #sent: Message[] = []
  readonly #clock: FakeClock
  /** The code with which the client has closed the socket, if it has. */
  closedWith: number | undefined

  constructor (url: string, protocols: string[], clock: FakeClock) {
    this.url = new URL(url)
    this.protocols = protocols
    this.#clock = clock
  }

  /** The messages that the client has sent, up to the end of this turn of the event loop. */
  get sent (): Message[] {
    this.#clock.advance(0)
    return this.#sent
  }

  get query (): Record<string, string> {
    return Object.fromEntries(this.url.searchParams)
  }

  send (data: string): void {
    this.#sent.push(JSON.parse(data) as Message)
  }

  close (code?: number): void {
    this.closedWith = code
  }

  /** The types of the messages that the client has sent. */
  get types (): string[] {
    return this.sent.map(({ type }) => type)
  }

  /** Sends messages from the server, in a later turn. */
  say (...messages: Array<object | string>): void {
    this.#clock.advance(0)
    for (const message of messages) {
      ;(this.onmessage as Handler)({ data: typeof message === 'string' ? message : JSON.stringify(message) })
    }
  }

  /** Sends the `connection` message, with which the server admits the client. */
  admit (fields: object = {}): void {
    this.say({ type: 'connection', status: 'connected', clientId: 'c', timestamp: 't', ...fields })
  }

  end (code = 1006, reason = ''): void {
    ;(this.onerror as Handler)({})
    ;(this.onclose as Handler)({ code, reason })
  }
}

/** A fake page. The test controls its time, its network and the events of the browser. */
export class FakePage implements Environment {
  readonly clock = new FakeClock()
  readonly sockets: FakeSocket[] = []
  readonly reported: unknown[] = []
  readonly pageUrl: string | undefined = 'https://app.example/chat?x=1#top'
  online = true
  /** The next random numbers. The last one is repeated. */
  randoms = [0.5]
  readonly #wakers = new Set<(event: WakeEvent) => void>()

  readonly random = (): number => this.randoms.length > 1 ? this.randoms.shift()! : this.randoms[0]!
  readonly report = (error: unknown): void => { this.reported.push(error) }
  readonly WebSocket = socketOf(this.sockets, this.clock)

  isOnline (): boolean {
    return this.online
  }

  watch (listener: (event: WakeEvent) => void): () => void {
    this.#wakers.add(listener)
    return () => { this.#wakers.delete(listener) }
  }

  /** Whether a listener for the browser's events is registered. */
  get isWatched (): boolean {
    return this.#wakers.size > 0
  }

  wake (event: WakeEvent): void {
    if (event !== 'visible') this.online = event === 'online'
    for (const waker of [...this.#wakers]) waker(event)
  }

  /** The latest socket. */
  get socket (): FakeSocket {
    return this.sockets.at(-1)!
  }
}

function socketOf (sockets: FakeSocket[], clock: FakeClock): NonNullable<Environment['WebSocket']> {
  return class extends FakeSocket {
    constructor (url: string, protocols: string[] = []) {
      super(url, protocols, clock)
      sockets.push(this)
    }
  }
}

/** Creates a client on a fake page, and records the events that it emits. */
export function clientOn (page: FakePage, options: ClientOptions = {}): Client & Telling {
  const client = new Client(options, page)
  const told: Telling['told'] = []
  for (const type of ['state', 'open', 'close', 'error', 'gap', 'subscription', 'message'] as const) client.on(type, (event) => { told.push([type, event as unknown as Message]) })
  return Object.assign(client, { told })
}

/** Creates a connected client. It is subscribed to a session if the options name one. */
export function connected (page: FakePage, options: ClientOptions = {}, answer: object = {}): ReturnType<typeof clientOn> {
  const client = clientOn(page, options)
  client.connect()
  page.socket.admit({
    ...(options.sessionId !== undefined && { sessionId: options.sessionId, epoch: 'e', seq: 0, recovered: false, reason: 'new', replaying: 0 }),
    ...answer
  })
  client.told.length = 0
  return client
}

/** Waits until pending promises have settled. */
export async function settled (): Promise<void> {
  await new Promise((resolve) => { setImmediate(resolve) })
}

/** Returns the events of one type that a client has emitted. */
export function toldOf (client: Telling, kind: string): Message[] {
  return client.told.filter(([type]) => type === kind).map(([, event]) => event)
}

