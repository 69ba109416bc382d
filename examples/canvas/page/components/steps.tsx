import { useAIWebSocket } from 'ai-canvas-ws/react'
import { useEffect, useRef, useState, useSyncExternalStore, type ReactElement, type ReactNode } from 'react'
import type { Seat } from '../seat.js'
import { useServedBy } from '../served-by.js'
import type { SessionStats } from '../stats.js'

/** Lists four things to try in order, and ticks off each when it has happened. */
export function Steps ({ you, sessionId, stats }: { you: Seat, sessionId: string, stats: SessionStats | undefined }): ReactElement {
  const { aiStatus, isConnected } = useAIWebSocket(sessionId)
  const { hasReturned, hasSeenRestart } = useSyncExternalStore(you.timeline.subscribe, you.timeline.getSnapshot)
  const server = useServedBy(you.client, isConnected)
  const hasStarted = useOnce(aiStatus !== 'idle')
  const hasSecondTab = useOnce(stats?.clients.some(({ userId }) => userId?.startsWith('you_') === true && userId !== you.userId) === true)

  const steps: Array<{ title: string, isDone: boolean, says: ReactNode }> = [
    { title: 'Start a job', isDone: hasStarted, says: <>Press <strong>Start</strong>. The text grows for you and for a second user.</> },
    { title: 'Cut your connection', isDone: hasReturned, says: <>Press <strong>{you.cutLabel}</strong> while the text grows. You catch up when you are back.</> },
    {
      title: 'Open a second tab',
      isDone: hasSecondTab,
      says: <>It has the text from its beginning. <a href={`?${new URLSearchParams({ sessionId }).toString()}`} target="_blank" rel="noreferrer">Open it<span aria-hidden="true"> ↗</span></a></>
    },
    {
      title: 'Kill the server',
      isDone: hasSeenRestart || server?.hasChanged === true,
      says: <>
        {server !== undefined && <><Copyable text={server.killCommand} /> in another terminal, while a job runs.</>}
        {typeof server?.node === 'string' ? ' Another node takes over.' : <> Then <code>npm start</code> again.</>}
      </>
    }
  ]
  const current = steps.findIndex(({ isDone }) => !isDone)
  const list = useRef<HTMLOListElement>(null)
  // A narrow screen shows only some of the steps side by side.
  useEffect(() => {
    const step = list.current?.children[current]
    if (step instanceof HTMLElement) list.current?.scrollTo({ left: step.offsetLeft })
  }, [current])
  return (
    <nav className="steps" aria-label="Things to try">
      <ol ref={list} tabIndex={0} aria-label="Four steps">
        {steps.map(({ title, isDone, says }, index) => (
          <li key={title} data-done={isDone} {...index === current && { 'aria-current': 'step' }}>
            <h2>
              <span className="mark" aria-hidden="true">{isDone ? '✓' : index + 1}</span>
              {title}{isDone && <span className="unseen">, done</span>}
            </h2>
            <p>{says}</p>
          </li>
        ))}
      </ol>
    </nav>
  )
}

function Copyable ({ text }: { text: string }): ReactElement {
  const [isCopied, setIsCopied] = useState(false)
  // Available only over https and on localhost.
  const clipboard = navigator.clipboard as Clipboard | undefined
  return (
    <>
      <code>{text}</code>
      {clipboard !== undefined && (
        <button type="button" className="tiny" onClick={() => { void clipboard.writeText(text).then(() => { setIsCopied(true) }, () => undefined) }}>
          {isCopied ? 'Copied' : 'Copy'}<span className="unseen"> {text}</span>
        </button>
      )}
    </>
  )
}

/** Returns true from the first time on. */
function useOnce (isTrue: boolean): boolean {
  const [was, setWas] = useState(isTrue)
  useEffect(() => { if (isTrue) setWas(true) }, [isTrue])
  return was || isTrue
}
