import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { createClient, type Client, type JobView } from 'ai-canvas-ws/client'
import { until } from './until.js'

/** Connects a client of the package, and waits until it is subscribed to the session `s`. */
export async function follow (t: Test, { url }: { readonly url: (query?: string) => string }): Promise<Client> {
  const client = createClient({ url: url(), WebSocket, sessionId: 's', reconnectInterval: 10, maxReconnectIntervalMs: 50 })
  t.teardown(() => { client.close() })
  client.connect()
  await until(() => client.jobStore('s').getSnapshot().isKnown)
  return client
}

export function jobOf (client: Client, jobId = 'j'): JobView | undefined {
  return client.jobStore('s').getSnapshot().find(jobId)
}

/** Waits until a client's job has ended. */
export async function ended (client: Client, jobId = 'j'): Promise<JobView> {
  await until(() => ['complete', 'error'].includes(jobOf(client, jobId)?.status ?? '') && jobOf(client, jobId)?.error?.type !== 'lost')
  return jobOf(client, jobId)!
}

/** Records the ends that a client reports, as `ai_complete j`. */
export function endsOf (client: Client): string[] {
  const ends: string[] = []
  for (const type of ['ai_complete', 'ai_error'] as const) client.on(type, ({ jobId }) => { ends.push(`${type} ${jobId}`) })
  return ends
}
