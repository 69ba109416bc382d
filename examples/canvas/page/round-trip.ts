import type { Client } from 'ai-canvas-ws/client'
import { useCallback, useEffect, useRef, useSyncExternalStore } from 'react'

const EVERY_MS = 5000

/** Returns the latest round trip in milliseconds. Skips the first one, which measures how busy the page is while it loads. */
export function useRoundTrip (client: Client, isConnected: boolean): number | undefined {
  const pongs = useRef(0)
  const subscribe = useCallback((listener: () => void) => client.on('pong', () => {
    pongs.current++
    if (pongs.current === 1) client.send({ type: 'ping' })
    listener()
  }), [client])
  const latency = useSyncExternalStore(subscribe, () => pongs.current < 2 ? undefined : client.metrics.latency)

  useEffect(() => {
    if (!isConnected) return
    const ping = (): void => { if (document.visibilityState === 'visible') client.send({ type: 'ping' }) }
    ping()
    const timer = setInterval(ping, EVERY_MS)
    return () => { clearInterval(timer) }
  }, [client, isConnected])
  return latency
}
