import { createClient } from 'ai-canvas-ws/client'
import { WebSocket } from 'ws'

const { LOGIN_PASSWORD = '', SERVER = 'http://localhost:3001' } = process.env
const [sessionId] = process.argv.slice(2)
if (sessionId === undefined) throw new Error('usage: npm run follow -- <user>:<session>')

const client = createClient({
  url: `${SERVER}/ws`,
  sessionId,
  WebSocket,
  // Called before each attempt to connect, so that no token is stale.
  getToken: async () => {
    const response = await fetch(`${SERVER}/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ userId: sessionId.split(':')[0], password: LOGIN_PASSWORD })
    })
    if (!response.ok) throw new Error(`the login failed with ${response.status}`)
    return (await response.json() as { token: string }).token
  }
})
client.on('state', ({ state, reason }) => { console.error(state, reason ?? '') })
client.on('error', ({ message }) => { console.error(message) })
client.on('message', (message) => { console.log(JSON.stringify(message)) })
client.connect()
