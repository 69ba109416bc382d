import { AICanvasProvider } from 'ai-canvas-ws/react'
import type { ReactElement } from 'react'
import type { Seat } from '../seat.js'
import { Composer } from './composer.js'
import { Panel } from './panel.js'
import { SessionLink } from './session-link.js'
import { Stats } from './stats.js'

export function Canvas ({ sessionId, you, guest }: { sessionId: string, you: Seat, guest: Seat }): ReactElement {
  return (
    <>
      <header className="top">
        <div>
          <h1>
            <svg viewBox="0 0 16 16" aria-hidden="true">
              <rect width="16" height="16" rx="4" fill="#4f46e5" />
              <path d="M3.5 8h2l1.5-4 2 8 1.5-4h2" fill="none" stroke="#fff" strokeWidth="1.5" strokeLinejoin="round" strokeLinecap="round" />
            </svg>
            AI Canvas
          </h1>
          <p className="lead">Every tab that follows a job sees it grow: late ones too, and those that were cut off.</p>
        </div>
        <SessionLink sessionId={sessionId} />
      </header>
      <main>
        <AICanvasProvider client={you.client}>
          <Composer sessionId={sessionId} />
          <Panel seat={you} sessionId={sessionId} />
        </AICanvasProvider>
        <AICanvasProvider client={guest.client}>
          <Panel seat={guest} sessionId={sessionId} />
        </AICanvasProvider>
        <Stats />
      </main>
    </>
  )
}
