import { AICanvasProvider } from 'ai-canvas-ws/react'
import { useState, type ReactElement } from 'react'
import type { Seat } from '../seat.js'
import { useStats } from '../stats.js'
import { Composer } from './composer.js'
import { Connections } from './connections.js'
import { Panel } from './panel.js'
import { Steps } from './steps.js'

export function Canvas ({ sessionId, you, second }: { sessionId: string, you: Seat, second: Seat }): ReactElement {
  const stats = useStats(sessionId)
  /** The job that this tab stopped last. */
  const [stoppedJobId, setStoppedJobId] = useState<string>()
  return (
    <>
      <header className="top">
        <h1>
          <svg viewBox="0 0 16 16" aria-hidden="true">
            <rect width="16" height="16" rx="4" fill="#4f46e5" />
            <path d="M3.5 8h2l1.5-4 2 8 1.5-4h2" fill="none" stroke="#fff" strokeWidth="1.5" strokeLinejoin="round" strokeLinecap="round" />
          </svg>
          AI Canvas
        </h1>
        <p className="lead">Every subscriber sees a job's text grow: after joining late, after losing the connection, and after a server restart.</p>
      </header>
      <main>
        <AICanvasProvider client={you.client}>
          <Steps you={you} sessionId={sessionId} stats={stats} />
          <Composer sessionId={sessionId} onStopping={setStoppedJobId} />
          <Panel seat={you} other={second} sessionId={sessionId} stoppedJobId={stoppedJobId} />
        </AICanvasProvider>
        <AICanvasProvider client={second.client}>
          <Panel seat={second} other={you} sessionId={sessionId} />
        </AICanvasProvider>
        <Connections stats={stats} />
      </main>
    </>
  )
}
