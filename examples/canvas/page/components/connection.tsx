import { useWebSocket } from 'ai-canvas-ws/react'
import { useCallback, useEffect, useState, useSyncExternalStore, type ReactElement } from 'react'
import { reasonText } from '../journal.js'
import type { Seat } from '../seat.js'

const CUT_MS = 5000
const PING_MS = 5000

const words = { idle: 'Not connected', connecting: 'Connecting…', connected: 'Connected', waiting: 'Waiting to reconnect', closed: 'Disconnected' } as const

/** The connection's state and round trip, and a way to break it. */
export function Connection ({ seat: { client, network, whose, cutLabel } }: { seat: Seat }): ReactElement {
  const { state, reason, isConnected, send } = useWebSocket()
  const onPong = useCallback((listener: () => void) => client.on('pong', listener), [client])
  const latency = useSyncExternalStore(onPong, () => client.metrics.latency)
  const backAt = useSyncExternalStore(network.subscribe, network.backAt)
  const seconds = useSecondsUntil(backAt)

  useEffect(() => {
    if (!isConnected) return
    const ping = (): void => { if (document.visibilityState === 'visible') send({ type: 'ping' }) }
    ping()
    const timer = setInterval(ping, PING_MS)
    return () => { clearInterval(timer) }
  }, [isConnected, send])

  const why = state === 'waiting' || state === 'closed' ? reasonText(reason) : ''
  return (
    <div className="connection">
      <div className="state" data-state={state}>
        <p role="status" aria-label={`${whose} connection`}>{words[state]} {why !== '' && <span className="quiet">{why}</span>}</p>
        {state === 'connected' && latency !== undefined && (
          <p className="quiet latency">Round trip {latency < 10 ? latency.toFixed(1) : latency.toFixed(0)} ms</p>
        )}
      </div>
      <button type="button" className="small" aria-disabled={backAt !== undefined} onClick={() => { network.cut(CUT_MS) }}>
        {backAt === undefined ? cutLabel : `Back in ${seconds} s`}
      </button>
    </div>
  )
}

function useSecondsUntil (time: number | undefined): number {
  const [now, setNow] = useState(0)
  useEffect(() => {
    if (time === undefined) return
    const tick = (): void => { setNow(Date.now()) }
    tick()
    const timer = setInterval(tick, 250)
    return () => { clearInterval(timer) }
  }, [time])
  return time === undefined ? 0 : Math.max(0, Math.ceil((time - Math.max(now, time - CUT_MS)) / 1000))
}
