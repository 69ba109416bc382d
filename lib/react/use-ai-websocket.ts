'use client'

import { useCallback, useState, useSyncExternalStore } from 'react'
import type {
  AIErrorInfo, AIProgress, AIResult, ConnectionState, JobsSnapshot, JobView, OutgoingMessage, StateReason, SubscriptionStatus
} from '../client/index.js'
import { noJobs } from '../client/jobs.js'
import { Attachment, type HookOptions } from './attachment.js'
import { useClient } from './use-client.js'
import { useStable } from './use-stable.js'
import { useLatest } from './use-latest.js'

interface ConnectionView {
  /** `idle` during server-side rendering and before the component is mounted. */
  readonly state: ConnectionState
  /** Why the client is not connected. */
  readonly reason: StateReason | undefined
}

interface View extends ConnectionView {
  readonly session: JobsSnapshot
}

export interface UseAIWebSocket extends ConnectionView {
  readonly isConnected: boolean
  /** The current session: the argument, or the one that `subscribe` switched to. */
  readonly sessionId: string | undefined
  /**
   * Whether the server has sent the session's state since the client subscribed. Until then, an `aiStatus` of `idle` does not
   * mean that there is no job.
   */
  readonly isKnown: boolean
  /** The status of the session's subscription. */
  readonly subscription: SubscriptionStatus
  /** The status of the session's latest job, or `idle` before the first. */
  readonly aiStatus: 'idle' | JobView['status']
  readonly aiProgress: AIProgress | undefined
  /** The streamed text so far. Empty if the job streams no text. */
  readonly aiText: string
  readonly aiResult: AIResult | undefined
  readonly aiError: AIErrorInfo | undefined
  /** The latest job with all its fields. */
  readonly job: JobView | undefined
  /** All running jobs and the latest ended ones. */
  readonly jobs: readonly JobView[]
  /** Returns the job with this id, if it is among `jobs`. */
  readonly findJob: (jobId: string) => JobView | undefined
  /** Switches this component to another session until the argument changes. */
  readonly subscribe: (sessionId: string) => void
  /** Asks the server to cancel a job: without an id, the newest running one. `onError` is called if the server refuses. */
  readonly cancel: (jobId?: string) => void
  /** Sends a message, like `send` of `useWebSocket`. */
  readonly send: (message: OutgoingMessage) => void
}

const serverView: View = { state: 'idle', reason: undefined, session: noJobs }

/** Returns the AI jobs of a session while the component is mounted. Without a session it only connects. */
export function useAIWebSocket (session: string | null | undefined, given?: HookOptions | null): UseAIWebSocket {
  const sessionId = session ?? undefined
  const options = given ?? {}
  const [switched, setSwitched] = useState<{ from: string | undefined, to: string }>()
  const current = switched !== undefined && switched.from === sessionId ? switched.to : sessionId
  const subscribe = useCallback((to: string) => { setSwitched({ from: sessionId, to }) }, [sessionId])

  const latest = useLatest(options)
  const source = useClient(options, latest)
  const attachment = useStable(() => new Attachment<View>(source, () => latest.current, current, {
    rerenderOn: 'jobs',
    select: (client) => ({
      state: client?.state ?? 'idle',
      reason: client?.reason,
      session: current === undefined ? noJobs : client?.jobStore(current).getSnapshot() ?? noJobs
    })
  }), [source, latest, current])
  const view = useSyncExternalStore(attachment.subscribe, attachment.getSnapshot, () => serverView)
  const { send } = attachment
  const cancel = useCallback((jobId?: string) => {
    if (current !== undefined) source.peek()?.cancel(current, jobId)
  }, [source, current])

  const { state, reason, session: { latest: job, jobs, find: findJob, isKnown, subscription } } = view
  return {
    state,
    reason,
    isConnected: state === 'connected',
    sessionId: current,
    isKnown,
    subscription,
    aiStatus: job?.status ?? 'idle',
    aiProgress: job?.progress,
    aiText: job?.text ?? '',
    aiResult: job?.result,
    aiError: job?.error,
    job,
    jobs,
    findJob,
    subscribe,
    cancel,
    send
  }
}
