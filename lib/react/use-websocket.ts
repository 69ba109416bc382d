'use client'

import { useSyncExternalStore } from 'react'
import type { ConnectionState, OutgoingMessage, StateReason } from '../client/index.js'
import { Attachment, type HookOptions, type Message } from './attachment.js'
import { useClient } from './use-client.js'
import { useHeld } from './use-held.js'
import { useLatest } from './use-latest.js'

export interface UseWebSocketOptions extends HookOptions {
  /** A session to follow while the component is mounted. */
  sessionId?: string | null | undefined
}

interface View {
  /** `idle` where a page renders on a server, and before the component is mounted. */
  readonly state: ConnectionState
  /** Why it is not connected. */
  readonly reason: StateReason | undefined
  /**
   * The latest message of this hook's sessions, of the user, or to everyone. In a burst a render sees only the latest:
   * `onMessage` is called for each.
   */
  readonly lastMessage: Message | undefined
}

export interface UseWebSocket extends View {
  readonly isConnected: boolean
  /**
   * Sends a message, once there is a connection. `subscribe` and `unsubscribe` are this component's alone. Always the same
   * function while URL, identity and session are.
   *
   * @throws `ClientError` `queue_full`, `closed`
   */
  readonly send: (message: OutgoingMessage) => void
}

const onServer: View = { state: 'idle', reason: undefined, lastMessage: undefined }

/**
 * A connection to the server while the component is mounted. Hooks with the same URL, identity and user key share one, which is
 * closed when the last of them is unmounted.
 */
export function useWebSocket (given?: UseWebSocketOptions | null): UseWebSocket {
  const options = given ?? {}
  const latest = useLatest(options)
  const source = useClient(options, latest)
  const sessionId = options.sessionId ?? undefined
  const attachment = useHeld(() => new Attachment<View>(source, () => latest.current, sessionId, {
    what: 'messages',
    select: (client, lastMessage) => ({ state: client?.state ?? 'idle', reason: client?.reason, lastMessage })
  }), [source, latest, sessionId])
  const view = useSyncExternalStore(attachment.subscribe, attachment.getSnapshot, () => onServer)
  return { ...view, isConnected: view.state === 'connected', send: attachment.send }
}
