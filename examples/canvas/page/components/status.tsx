import type { AIErrorInfo } from 'ai-canvas-ws/client'
import type { UseAIWebSocket } from 'ai-canvas-ws/react'
import type { ReactElement } from 'react'
import { characters } from '../timeline.js'

type JobStatus = UseAIWebSocket['aiStatus']

const words: Record<JobStatus, string> = { idle: 'No job yet', processing: 'Working', complete: 'Complete', error: 'Ended with an error' }
const ends: Readonly<Record<string, string>> = { cancelled: 'Stopped', lost: 'Lost', server_closing: 'Ended by the server' }

/** Shows the job's progress and, while the connection is cut, how far it is behind the other user's text. */
export function Status ({ status, error, length, behind, behindWhom, whose }: {
  status: JobStatus
  error: AIErrorInfo | undefined
  length: number
  behind: number
  behindWhom: string
  whose: string
}): ReactElement {
  const word = (status === 'error' ? ends[error?.type ?? ''] : undefined) ?? words[status]
  return (
    <p className="status" data-status={word === 'Stopped' ? 'stopped' : status}>
      <strong role="status" aria-label={`${whose} job`}>{word}</strong>
      <span className="quiet figures">
        {behind > 0 ? <span className="behind">{characters(behind)} behind {behindWhom}</span> : status !== 'idle' && characters(length)}
      </span>
    </p>
  )
}
