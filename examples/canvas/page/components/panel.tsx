import { useAIWebSocket } from 'ai-canvas-ws/react'
import { useId, type ReactElement } from 'react'
import type { Seat } from '../seat.js'
import { Connection } from './connection.js'
import { JournalList } from './journal-list.js'
import { Outcome } from './outcome.js'
import { ProgressBar } from './progress-bar.js'
import { Text } from './text.js'

/** One follower's view of the session. */
export function Panel ({ seat, sessionId }: { seat: Seat, sessionId: string }): ReactElement {
  const { aiStatus, aiProgress, aiText, aiResult, aiError } = useAIWebSocket(sessionId)
  const id = useId()
  return (
    <section className="card panel" aria-labelledby={id}>
      <header>
        <h2 id={id}>{seat.name} <code className="quiet">{seat.userId}</code></h2>
        <Connection seat={seat} />
      </header>
      <ProgressBar status={aiStatus} progress={aiProgress} error={aiError} whose={seat.whose} />
      <Text text={aiText} status={aiStatus} label={`${seat.whose} text`} />
      <Outcome sessionId={sessionId} result={aiResult} error={aiError} />
      <JournalList journal={seat.journal} whose={seat.whose} />
    </section>
  )
}
