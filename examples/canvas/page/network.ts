/** What can be done to the sockets of one client, to see how it takes that. */
export interface Network {
  readonly WebSocket: typeof WebSocket
  /** Ends the sockets as a network does that is gone: without a word. For so long none gets through. */
  cut (ms: number): void
  /** When it comes back, in milliseconds since 1970. Undefined while nothing is cut. */
  readonly backAt: () => number | undefined
  readonly subscribe: (listener: () => void) => () => void
}

export function createNetwork (): Network {
  const sockets = new Set<CuttableSocket>()
  const listeners = new Set<() => void>()
  let backAt: number | undefined

  class CuttableSocket extends WebSocket {
    constructor (url: string | URL, protocols?: string | string[]) {
      super(url, protocols)
      sockets.add(this)
      this.addEventListener('close', () => { sockets.delete(this) })
      if (backAt !== undefined) this.close()
    }

    cut (): void {
      // The close frame would arrive and be answered; a network that is gone tells nobody anything
      this.dispatchEvent(new CloseEvent('close', { code: 1006 }))
      this.close()
    }
  }

  function set (at: number | undefined): void {
    backAt = at
    for (const listener of listeners) listener()
  }

  return {
    WebSocket: CuttableSocket,
    cut (ms) {
      if (backAt !== undefined) return
      set(Date.now() + ms)
      setTimeout(() => { set(undefined) }, ms)
      for (const socket of [...sockets]) socket.cut()
    },
    backAt: () => backAt,
    subscribe (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}
