/** Simulates network failures for one client's sockets. */
export interface Network {
  readonly WebSocket: typeof WebSocket
  /** Drops all sockets without a close frame, like a failed network. For this time no new socket can connect. */
  cut (ms: number): void
  /** Time at which the network returns, in milliseconds since 1970. Undefined while it works. */
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
      // A close frame would arrive and be answered. A failed network sends nothing.
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
