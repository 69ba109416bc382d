import { createClient } from 'ai-canvas-ws/client'

/** One connection for the whole page. It is opened by the first session that is followed. */
export const client = createClient()

/** The state of the connection, as a rune. */
export const connection = $state({ state: client.state })
client.on('state', ({ state }) => { connection.state = state })
