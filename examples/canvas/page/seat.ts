import { createClient, type Client } from 'ai-canvas-ws/client'
import { createNetwork, type Network } from './network.js'
import { keepTimeline, type Timeline } from './timeline.js'

/** Somebody who follows the session: a connection of their own, and what can be done to it. */
export interface Seat extends Person {
  readonly client: Client
  readonly network: Network
  readonly timeline: Timeline
}

interface Person {
  readonly name: string
  /** As in "Your connection". */
  readonly whose: string
  /** As in "behind the second user". */
  readonly called: string
  /** In one line, who that is. */
  readonly says: string
  readonly cutLabel: string
  readonly userId: string
}

export function takeSeat (person: Person): Seat {
  const network = createNetwork()
  // Quicker than by default: who presses "cut" wants to watch the way back
  const client = createClient({ userId: person.userId, WebSocket: network.WebSocket, reconnectInterval: 1000, maxReconnectIntervalMs: 2000, maxReconnectAttempts: 1000 })
  return { ...person, client, network, timeline: keepTimeline(client) }
}
