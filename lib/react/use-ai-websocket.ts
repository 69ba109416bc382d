'use client'

import { useCallback, useState, useSyncExternalStore } from 'react'
import type {
  AIErrorInfo, AIProgress, AIResult, ConnectionState, JobsSnapshot, JobView, OutgoingMessage, StateReason
} from '../client/index.js'
import { Attachment, type HookOptions } from './attachment.js'
import { useClient } from './use-client.js'
import { useHeld } from './use-held.js'
import { useLatest } from './use-latest.js'

interface View {
  /** `idle` where a page renders on a server, and before the component is mounted. */
  readonly state: ConnectionState
  /** Why it is not connected. */
  readonly reason: StateReason | undefined
  readonly jobs: JobsSnapshot
}

export interface UseAIWebSocket extends View {
  readonly isConnected: boolean
  /** The session that is followed: that of the argument, or the one that `subscribe` switched to. */
  readonly sessionId: string | undefined
  /** Of the session's latest job; `idle` before there is one. */
  readonly aiStatus: 'idle' | JobView['status']
  readonly aiProgress: AIProgress | undefined
  /** The job's text so far, where the server streams it; otherwise empty. */
  readonly aiText: string
  readonly aiResult: AIResult | undefined
  readonly aiError: AIErrorInfo | undefined
  /** The latest job with everything that is known of it; `jobs` has the others. */
  readonly job: JobView | undefined
  /** Follows another session, in this component alone, until the argument changes. */
  readonly subscribe: (sessionId: string) => void
  /** Asks the server to end a job, or the newest one that runs. `onError` tells when it may not. */
  readonly cancel: (jobId?: string) => void
  /** As that of `useWebSocket`. */
  readonly send: (message: OutgoingMessage) => void
}

const noJobs: JobsSnapshot = { latest: undefined, jobs: new Map() }
const onServer: View = { state: 'idle', reason: undefined, jobs: noJobs }

/** The AI jobs of a session while the component is mounted. Without a session it only connects. */
export function useAIWebSocket (session: string | null | undefined, given?: HookOptions | null): UseAIWebSocket {
  const sessionId = session ?? undefined
  const options = given ?? {}
  const [switched, setSwitched] = useState<{ from: string | undefined, to: string }>()
  const current = switched !== undefined && switched.from === sessionId ? switched.to : sessionId
  const subscribe = useCallback((to: string) => { setSwitched({ from: sessionId, to }) }, [sessionId])

  const latest = useLatest(options)
  const source = useClient(options, latest)
  const attachment = useHeld(() => new Attachment<View>(source, () => latest.current, current, {
    what: 'jobs',
    select: (client) => ({
      state: client?.state ?? 'idle',
      reason: client?.reason,
      jobs: current === undefined ? noJobs : client?.jobStore(current).getSnapshot() ?? noJobs
    })
  }), [source, latest, current])
  const view = useSyncExternalStore(attachment.subscribe, attachment.getSnapshot, () => onServer)
  const { send } = attachment
  const cancel = useCallback((jobId?: string) => {
    if (current !== undefined) source.peek()?.cancel(current, jobId)
  }, [source, current])

  const { latest: job } = view.jobs
  return {
    ...view,
    isConnected: view.state === 'connected',
    sessionId: current,
    aiStatus: job?.status ?? 'idle',
    aiProgress: job?.progress,
    aiText: job?.text ?? '',
    aiResult: job?.result,
    aiError: job?.error,
    job,
    subscribe,
    cancel,
    send
  }
}
