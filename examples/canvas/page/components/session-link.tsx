import type { ReactElement } from 'react'

/** The way to a second tab. */
export function SessionLink ({ sessionId }: { sessionId: string }): ReactElement {
  return (
    <p className="session">
      <span className="quiet">Session</span> <code>{sessionId}</code>
      <a href={`?${new URLSearchParams({ sessionId }).toString()}`} target="_blank" rel="noreferrer">
        Open in another tab<span aria-hidden="true"> ↗</span>
      </a>
    </p>
  )
}
