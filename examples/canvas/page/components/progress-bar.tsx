import type { AIErrorInfo, AIProgress } from 'ai-canvas-ws/client'
import type { UseAIWebSocket } from 'ai-canvas-ws/react'
import type { CSSProperties, ReactElement } from 'react'

type Status = UseAIWebSocket['aiStatus']

const words: Record<Status, string> = { idle: 'No job yet', processing: 'Working', complete: 'Complete', error: 'Ended with an error' }

/** How far the job is. Nobody knows how long its text will be, so the bar grows with each chunk, and ever less. */
export function ProgressBar ({ status, progress, error, whose }: {
  status: Status
  progress: AIProgress | undefined
  error: AIErrorInfo | undefined
  whose: string
}): ReactElement {
  const { chunksReceived: chunks = 0, contentLength = 0 } = progress ?? {}
  const figures = status === 'idle' || progress === undefined ? '' : `${count(chunks, 'chunk')}, ${count(contentLength, 'character')}`
  const word = error?.type === 'cancelled' ? 'Stopped' : words[status]
  const share = status === 'complete' ? 1 : status === 'idle' ? 0 : chunks / (chunks + 25)
  return (
    <div className="progress" data-status={word === 'Stopped' ? 'stopped' : status}>
      <p>
        <strong role="status" aria-label={`${whose} job`}>{word}</strong>
        <span className="quiet figures">{figures}</span>
      </p>
      <div
        className="bar" role="progressbar" aria-label={`${whose} progress`} aria-valuetext={figures === '' ? word : figures}
        {...status === 'complete' && { 'aria-valuenow': 100 }} style={{ '--share': share } as CSSProperties}
      >
        <div />
      </div>
    </div>
  )
}

function count (number: number, noun: string): string {
  return `${number.toLocaleString()} ${noun}${number === 1 ? '' : 's'}`
}
