/** A running timer. Cancelling it twice or after it fired does nothing. */
export interface Timer { cancel (): void }

/** The part of the WebSocket interface that the client uses. Browsers, Node.js and `ws` provide it. */
export interface WebSocketLike {
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  send (data: string): void
  close (code?: number, reason?: string): void
}

export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike

/** Events of the page that affect the connection. `visible` also means that a frozen page has resumed. */
export type WakeEvent = 'online' | 'offline' | 'visible'

/** Everything that the client uses of its surroundings. Tests replace it with a fake. */
export interface Environment {
  readonly clock: {
    /** Milliseconds of a clock that never goes back. */
    monotonic (): number
    after (ms: number, callback: () => void): Timer
  }
  /** Returns a random number from 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number
  /** Returns false only if there is certainly no network. */
  isOnline (): boolean
  /** Adds a listener for page events. Returns a function that removes it. */
  watch (listener: (event: WakeEvent) => void): () => void
  /** The `http:` or `https:` URL against which a relative URL is resolved, if any. */
  readonly pageUrl: string | undefined
  readonly WebSocket: WebSocketConstructor | undefined
  /** Reports an error that a listener threw. It must not stop the client and must not be swallowed. */
  readonly report: (error: unknown) => void
}

/** The maximum delay of `setTimeout`, in milliseconds. A timer with a longer delay fires immediately. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

interface PageEvent {
  readonly type: string
  /** Of `pageshow`: whether the page was restored from the back/forward cache. */
  readonly persisted?: boolean
}

interface Target {
  addEventListener (type: string, listener: (event: PageEvent) => void): void
  removeEventListener (type: string, listener: (event: PageEvent) => void): void
}

/** The browser globals that the client uses. All are optional. */
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
        const timeout = setTimeout(callback, Math.min(ms, MAX_TIMEOUT_MS))
        return { cancel: () => { clearTimeout(timeout) } }
      }
    },
    random: Math.random,
    isOnline: () => globals.navigator?.onLine !== false,
    watch: (listener) => {
      const handle = ({ type, persisted }: PageEvent): void => {
        if (type === 'online' || type === 'offline') listener(type)
        else if (type === 'resume' || (persisted ?? document?.visibilityState === 'visible')) listener('visible')
      }
      // `resume` (Page Lifecycle API) fires when the browser unfreezes the page.
      const targets = [
        [globals, 'online'], [globals, 'offline'], [globals, 'pageshow'], [document, 'visibilitychange'], [document, 'resume']
      ] as const
      for (const [target, type] of targets) target?.addEventListener?.(type, handle)
      return () => { for (const [target, type] of targets) target?.removeEventListener?.(type, handle) }
    },
    // A blob worker has only an origin. A `srcdoc` or `about:blank` frame has the base URL of its parent page.
    pageUrl: [globals.location?.href, document?.baseURI, globals.origin].find((url) => url && /^https?:/.test(url)),
    WebSocket: globals.WebSocket,
    report: (error) => { queueMicrotask(() => { throw error }) }
  }
}
