import type { JobView } from 'ai-canvas-ws/client'
import { useAIWebSocket } from 'ai-canvas-ws/react'
import { useId, useMemo, useSyncExternalStore, type ReactElement } from 'react'
import type { Seat } from '../seat.js'
import { Connection } from './connection.js'
import { Outcome } from './outcome.js'
import { Status } from './status.js'
import { Text } from './text.js'
import { TimelineView } from './timeline-view.js'

/** Shows one subscriber's view of the session. */
export function Panel ({ seat, other, sessionId, stoppedJobId }: {
  seat: Seat
  other: Seat
  sessionId: string
  stoppedJobId?: string | undefined
}): ReactElement {
  const { aiStatus, aiText, aiResult, aiError, job, isConnected } = useAIWebSocket(sessionId)
  const { recovered } = useSyncExternalStore(seat.timeline.subscribe, seat.timeline.getSnapshot)
  const ahead = useLatestJob(other, sessionId)
  const id = useId()
  const behind = !isConnected && ahead !== undefined && ahead.jobId === job?.jobId ? ahead.text.length - aiText.length : 0
  return (
    <section className="card panel" aria-labelledby={id} aria-describedby={`${id}-who`} data-cut={!isConnected}>
      <header>
        <h2 id={id}>{seat.name}</h2>
        <p className="quiet who" id={`${id}-who`}>{seat.says}</p>
        <Connection seat={seat} />
      </header>
      <Status status={aiStatus} error={aiError} length={aiText.length} behind={behind} behindWhom={other.called} whose={seat.whose} />
      <Text text={aiText} status={aiStatus} label={`${seat.whose} text`} recovered={recovered} />
      <Outcome text={aiText} result={aiResult} error={aiError} isOwnStop={stoppedJobId !== undefined && stoppedJobId === job?.jobId} />
      <TimelineView timeline={seat.timeline} whose={seat.whose} />
    </section>
  )
}

function useLatestJob ({ client }: Seat, sessionId: string): JobView | undefined {
  const { subscribe, getSnapshot } = useMemo(() => {
    const store = client.jobStore(sessionId)
    return { subscribe: (listener: () => void) => store.subscribe(listener), getSnapshot: () => store.getSnapshot().latest }
  }, [client, sessionId])
  return useSyncExternalStore(subscribe, getSnapshot)
}
