import { createClient, type Client } from 'ai-canvas-ws/client'
import { keepJournal, type Journal } from './journal.js'
import { createNetwork, type Network } from './network.js'

/** Somebody who follows the session: a connection of their own, and what can be done to it. */
export interface Seat {
  readonly name: string
  /** As in "Your connection". */
  readonly whose: string
  readonly cutLabel: string
  readonly userId: string
  readonly client: Client
  readonly network: Network
  readonly journal: Journal
}

export function takeSeat ({ name, whose, cutLabel, userId }: Pick<Seat, 'name' | 'whose' | 'cutLabel' | 'userId'>): Seat {
  const network = createNetwork()
  // Quicker than by default: who presses "cut" wants to watch the way back
  const client = createClient({ userId, WebSocket: network.WebSocket, reconnectInterval: 1000, maxReconnectIntervalMs: 5000 })
  return { name, whose, cutLabel, userId, client, network, journal: keepJournal(client) }
}
