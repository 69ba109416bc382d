import type { Client } from 'ai-canvas-ws/client'
import { useEffect, useState } from 'react'

/** The server that a connection has reached. */
export interface ServedBy {
  /** Its name, or null if there is only one. */
  readonly node: string | null
  /** A shell command that ends it like a crash. */
  readonly killCommand: string
  /** Whether an earlier connection had reached another server. */
  readonly hasChanged: boolean
}

/** Sends a request on each connection. Undefined before the first reply. */
export function useServedBy (client: Client, isConnected: boolean): ServedBy | undefined {
  const [server, setServer] = useState<ServedBy>()
  useEffect(() => client.on('served_by', ({ node, killCommand }) => {
    const name = typeof node === 'string' ? node : null
    setServer((before) => ({ node: name, killCommand: String(killCommand), hasChanged: before !== undefined && (before.hasChanged || before.node !== name) }))
  }), [client])
  useEffect(() => { if (isConnected) client.send({ type: 'who_serves' }) }, [client, isConnected])
  return server
}
