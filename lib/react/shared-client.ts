import { createClient, type Client, type ClientOptions } from '../client/index.js'

/** What a hook says about its connection. */
export interface ConnectionOptions extends Omit<ClientOptions, 'sessionId' | 'onMessage' | 'onOpen' | 'onClose' | 'onError' | 'onGap'> {
  /**
   * Who is logged in, where neither `userId` nor `url` says so: with another key it is another connection, so that nobody
   * inherits one. Never sent.
   */
  userKey?: string | null | undefined
}

interface Shared {
  readonly client: Client
  /** The options of every hook that holds it, the latest last. */
  readonly holders: Set<() => ConnectionOptions>
}

/** Connections of the page that hooks share: one for each URL, identity and user key. */
const shared = new Map<string, Shared>()

export function keyOf ({ url, userId, userKey }: ConnectionOptions): string {
  return JSON.stringify([url, userId, userKey])
}

export function peek (key: string): Client | undefined {
  return shared.get(key)?.client
}

/** Takes a client, connected or about to be, until `release` is called. The first one's options are the connection's. */
export function acquire (key: string, options: () => ConnectionOptions): { client: Client, release: () => void } {
  const entry = shared.get(key) ?? make(options())
  shared.set(key, entry)
  // A function of its own for each holder.
  const holder = (): ConnectionOptions => options()
  entry.holders.add(holder)
  entry.client.connect()
  const release = (): void => {
    entry.holders.delete(holder)
    // Not at once: StrictMode and hot reload take it anew, and so may the next page.
    setTimeout(() => {
      if (entry.holders.size > 0 || shared.get(key) !== entry) return
      shared.delete(key)
      entry.client.close()
    })
  }
  return { client: entry.client, release }
}

/** The session and the callbacks are each hook's own. */
function make (options: ConnectionOptions): Shared {
  const holders = new Set<() => ConnectionOptions>()
  const shared: ClientOptions = Object.fromEntries(Object.entries(options).filter(([name]) => !/^(?:on[A-Z]|sessionId|userKey)/.test(name)))
  // Of the latest render of the latest hook: an older one may close over a token that is no longer true.
  if (typeof options.getToken === 'function') shared.getToken = () => [...holders].at(-1)?.().getToken?.()
  return { client: createClient(shared), holders }
}
