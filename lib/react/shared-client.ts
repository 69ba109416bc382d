import { createClient, type Client, type ClientOptions } from '../client/index.js'

/** The options of a hook's connection. */
export interface ConnectionOptions extends Omit<ClientOptions, 'sessionId' | 'onMessage' | 'onOpen' | 'onClose' | 'onError' | 'onGap'> {
  /**
   * Identifies the logged-in user if neither `userId` nor `url` does. Another key means another connection, so that a user
   * never inherits the previous user's connection. It is never sent.
   */
  userKey?: string | null | undefined
}

interface SharedClient {
  readonly client: Client
  /** Returns the options of each hook that uses the client, the latest hook last. */
  readonly hooks: Set<() => ConnectionOptions>
}

/** The clients that hooks share, one for each URL, user id and user key. */
const shared = new Map<string, SharedClient>()

export function keyOf ({ url, userId, userKey }: ConnectionOptions): string {
  return JSON.stringify([url, userId, userKey])
}

export function peek (key: string): Client | undefined {
  return shared.get(key)?.client
}

/** Acquires a client and connects it. `release` returns it. The options of the first hook configure the connection. */
export function acquire (key: string, options: () => ConnectionOptions): { client: Client, release: () => void } {
  const entry = shared.get(key) ?? createShared(options())
  shared.set(key, entry)
  // A new function for each hook, because two hooks may pass the same one.
  const hook = (): ConnectionOptions => options()
  entry.hooks.add(hook)
  entry.client.connect()
  const release = (): void => {
    entry.hooks.delete(hook)
    // Deferred, because StrictMode, hot reload or the next page may acquire the client again.
    setTimeout(() => {
      if (entry.hooks.size > 0 || shared.get(key) !== entry) return
      shared.delete(key)
      entry.client.close()
    })
  }
  return { client: entry.client, release }
}

/** Creates a client without `sessionId` and callbacks, which belong to each hook. */
function createShared (options: ConnectionOptions): SharedClient {
  const hooks = new Set<() => ConnectionOptions>()
  const shared: ClientOptions = Object.fromEntries(Object.entries(options).filter(([name]) => !/^(?:on[A-Z]|sessionId|userKey)/.test(name)))
  // Uses the latest render of the latest hook, because an older `getToken` may close over an outdated token.
  if (typeof options.getToken === 'function') shared.getToken = () => [...hooks].at(-1)?.().getToken?.()
  return { client: createClient(shared), hooks }
}
