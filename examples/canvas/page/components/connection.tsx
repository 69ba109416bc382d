import { useWebSocket } from 'ai-canvas-ws/react'
import { useEffect, useState, useSyncExternalStore, type ReactElement } from 'react'
import { useRoundTrip } from '../round-trip.js'
import { useServedBy } from '../served-by.js'
import type { Seat } from '../seat.js'
import { reasonText } from '../timeline.js'

const CUT_MS = 5000

const words = { idle: 'Not connected', connecting: 'Connecting…', connected: 'Connected', waiting: 'Waiting to reconnect', closed: 'Disconnected' } as const

/** Shows the connection's state and round trip, and a button that cuts it. */
export function Connection ({ seat: { client, network, timeline, whose, cutLabel } }: { seat: Seat }): ReactElement {
  const { state, reason, isConnected } = useWebSocket()
  const roundTrip = useRoundTrip(client, isConnected)
  const node = useServedBy(client, isConnected)?.node ?? undefined
  const { isRestarting } = useSyncExternalStore(timeline.subscribe, timeline.getSnapshot)
  const backAt = useSyncExternalStore(network.subscribe, network.backAt)
  const seconds = useSecondsUntil(backAt)

  const why = state !== 'waiting' && state !== 'closed' ? '' : isRestarting ? 'the server is restarting' : reasonText(reason)
  return (
    <div className="connection">
      <div className="state" data-state={state}>
        <p role="status" aria-label={`${whose} connection`}>{words[state]} {why !== '' && <span className="quiet">{why}</span>}</p>
        {state === 'connected' && (
          <p className="quiet latency">
            {roundTrip === undefined ? ' ' : `Round trip ${roundTrip < 10 ? roundTrip.toFixed(1) : roundTrip.toFixed(0)} ms`}
            {node !== undefined && `, served by ${node}`}
          </p>
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
