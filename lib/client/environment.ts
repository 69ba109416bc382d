/** A timer that was set. Cancelling twice, or after it fired, does nothing. */
export interface Timer { cancel (): void }

/** As much of a WebSocket as the client uses: the browser's, Node's and that of ws all have it. */
export interface WebSocketLike {
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  send (data: string): void
  close (code?: number, reason?: string): void
}

export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike

/** What happens around the page that a connection should know of. `visible` also stands for a page that runs again. */
export type WakeEvent = 'online' | 'offline' | 'visible'

/** Everything that the client takes from the world: a test holds it still, and there is no other way out. */
export interface Environment {
  readonly clock: {
    /** Milliseconds that never go back. */
    monotonic (): number
    after (ms: number, callback: () => void): Timer
  }
  /** From 0 up to 1. */
  readonly random: () => number
  /** False only when it is known that there is no network. */
  isOnline (): boolean
  /** Calls back at each such event, until the function that it returns is called. */
  watch (listener: (event: WakeEvent) => void): () => void
  /** The `http:` or `https:` address to which a relative URL belongs, where there is one. */
  readonly pageUrl: string | undefined
  readonly WebSocket: WebSocketConstructor | undefined
  /** Takes what a listener of the app's threw: it must not stop the client, and it must not go unseen. */
  readonly report: (error: unknown) => void
}

/** A timer of more milliseconds fires at once. */
const LONGEST_MS = 2 ** 31 - 1

interface PageEvent {
  readonly type: string
  /** Of `pageshow`: whether the page came out of the back/forward cache. */
  readonly persisted?: boolean
}

interface Target {
  addEventListener (type: string, listener: (event: PageEvent) => void): void
  removeEventListener (type: string, listener: (event: PageEvent) => void): void
}

/** A browser's globals, none of which must be there. */
interface Globals extends Partial<Target> {
  readonly WebSocket?: WebSocketConstructor
  readonly location?: { readonly href: string }
  readonly origin?: string
  readonly navigator?: { readonly onLine?: boolean }
  readonly document?: Partial<Target> & { readonly visibilityState: string, readonly baseURI?: string }
}

export function environmentOf (globals: Globals): Environment {
  const { document } = globals
  return {
    clock: {
      monotonic: () => performance.now(),
      after: (ms, callback) => {
        const timeout = setTimeout(callback, Math.min(ms, LONGEST_MS))
        return { cancel: () => { clearTimeout(timeout) } }
      }
    },
    random: Math.random,
    isOnline: () => globals.navigator?.onLine !== false,
    watch: (listener) => {
      const hear = ({ type, persisted }: PageEvent): void => {
        if (type === 'online' || type === 'offline') listener(type)
        else if (type === 'resume' || (persisted ?? document?.visibilityState === 'visible')) listener('visible')
      }
      // `resume` belongs to the Page Lifecycle API: the browser had frozen the page.
      const places = [
        [globals, 'online'], [globals, 'offline'], [globals, 'pageshow'], [document, 'visibilitychange'], [document, 'resume']
      ] as const
      for (const [target, type] of places) target?.addEventListener?.(type, hear)
      return () => { for (const [target, type] of places) target?.removeEventListener?.(type, hear) }
    },
    // A worker from a blob has an origin alone; a `srcdoc` or `about:blank` frame has the base of the page around it.
    pageUrl: [globals.location?.href, document?.baseURI, globals.origin].find((url) => url && /^https?:/.test(url)),
    WebSocket: globals.WebSocket,
    report: (error) => { queueMicrotask(() => { throw error }) }
  }
}
