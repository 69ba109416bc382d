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
          <h1>AI Canvas</h1>
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
