import { createClient, type Client } from 'ai-canvas-ws/client'
import { createNetwork, type Network } from './network.js'
import { keepTimeline, type Timeline } from './timeline.js'

/** One subscriber of the session, with its connection, its simulated network and its timeline. */
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
  /** A description in one line. */
  readonly says: string
  readonly cutLabel: string
  readonly userId: string
}

export function takeSeat (person: Person): Seat {
  const network = createNetwork()
  // Shorter than by default, because after "cut" the user wants to watch the reconnect.
  const client = createClient({ userId: person.userId, WebSocket: network.WebSocket, reconnectInterval: 1000, maxReconnectIntervalMs: 2000, maxReconnectAttempts: 1000 })
  return { ...person, client, network, timeline: keepTimeline(client) }
}
