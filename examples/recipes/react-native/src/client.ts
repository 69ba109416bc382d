import NetInfo from '@react-native-community/netinfo'
import { createClient } from 'ai-canvas-ws/client'
import { AppState } from 'react-native'
import { SERVER } from './server'

/** One connection for the whole app. */
export const client = createClient({ url: `${SERVER}/ws`, maxReconnectAttempts: Infinity })

// The system suspends an app in the background, and its sockets die without a close. The next connection brings
// the messages that it missed
AppState.addEventListener('change', (state) => {
  if (state === 'background') client.close()
  if (state === 'active') client.connect()
})

// React Native has no `online` event, so the client would wait for its next attempt
NetInfo.addEventListener(({ isConnected }) => {
  if (isConnected === true && AppState.currentState === 'active') client.connect()
})
