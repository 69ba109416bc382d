'use client'

import { useSyncExternalStore } from 'react'
import type { ConnectionState, OutgoingMessage, StateReason } from '../client/index.js'
import { Attachment, type HookOptions, type Message } from './attachment.js'
import { useClient } from './use-client.js'
import { useStable } from './use-stable.js'
import { useLatest } from './use-latest.js'

export interface UseWebSocketOptions extends HookOptions {
  /** The session to subscribe to while the component is mounted. */
  sessionId?: string | null | undefined
}

interface View {
  /** `idle` during server-side rendering and before the component is mounted. */
  readonly state: ConnectionState
  /** Why the client is not connected. */
  readonly reason: StateReason | undefined
  /**
   * The latest message for this hook's sessions, for the user, or for everyone. In a burst a render sees only the latest one;
   * `onMessage` is called for every message.
   */
  readonly lastMessage: Message | undefined
}

export interface UseWebSocket extends View {
  readonly isConnected: boolean
  /**
   * Sends a message, or queues it until there is a connection. `subscribe` and `unsubscribe` affect only this component. The
   * function stays the same while the connection and the session do.
   *
   * @throws `ClientError` `queue_full`, `closed`
   */
  readonly send: (message: OutgoingMessage) => void
}

const serverView: View = { state: 'idle', reason: undefined, lastMessage: undefined }

/**
 * Connects to the server while the component is mounted. Hooks with the same URL, user id and user key share one connection. It
 * is closed when the last of them is unmounted.
 */
export function useWebSocket (given?: UseWebSocketOptions | null): UseWebSocket {
  const options = given ?? {}
  const latest = useLatest(options)
  const source = useClient(options, latest)
  const sessionId = options.sessionId ?? undefined
  const attachment = useStable(() => new Attachment<View>(source, () => latest.current, sessionId, {
    rerenderOn: 'messages',
    select: (client, lastMessage) => ({ state: client?.state ?? 'idle', reason: client?.reason, lastMessage })
  }), [source, latest, sessionId])
  const view = useSyncExternalStore(attachment.subscribe, attachment.getSnapshot, () => serverView)
  return { ...view, isConnected: view.state === 'connected', send: attachment.send }
}
