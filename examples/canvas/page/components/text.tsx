import type { UseAIWebSocket } from 'ai-canvas-ws/react'
import { useLayoutEffect, useRef, type ReactElement } from 'react'

/** How near to its end the reader must be for the text to keep scrolling, in pixels. */
const NEAR = 40

/** The text as it grows. It scrolls along until the reader scrolls back. */
export function Text ({ text, status, label }: { text: string, status: UseAIWebSocket['aiStatus'], label: string }): ReactElement {
  const box = useRef<HTMLPreElement>(null)
  const follows = useRef(true)

  useLayoutEffect(() => {
    const { current } = box
    if (current !== null && follows.current) current.scrollTop = current.scrollHeight
  }, [text])

  function onScroll (): void {
    const { current } = box
    if (current !== null) follows.current = current.scrollHeight - current.scrollTop - current.clientHeight < NEAR
  }

  // Not a live region: read out piece by piece it would never be silent. Start and end are told by the status.
  return (
    <pre ref={box} className="text" role="region" aria-label={label} tabIndex={0} data-status={status} onScroll={onScroll}>
      {text === '' ? <span className="quiet">{status === 'processing' ? 'Waiting for the first words…' : 'The text appears here.'}</span> : text}
    </pre>
  )
}
