import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import t from 'tap'
import { AICanvasProvider, useAIWebSocket, useWebSocket } from 'ai-canvas-ws/react'
import { createClient } from 'ai-canvas-ws/client'

// Tests rendering without a page: no import of this file creates one.

const Component = () => {
  const { aiStatus, state, isConnected } = useAIWebSocket('s')
  const { lastMessage } = useWebSocket({ sessionId: 's', getToken: () => { throw new Error('getToken must not be called') } })
  return createElement('p', null, `${aiStatus} ${state} ${String(isConnected)} ${typeof lastMessage}`)
}

t.test('hooks render on a server without a page, a WebSocket or a URL', async (t) => {
  for (const name of ['window', 'document', 'location']) t.equal(name in globalThis, false, `there is no ${name}`)
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  for (let request = 0; request < 3; request++) {
    t.equal(renderToString(createElement(Component)), '<p>idle idle false undefined</p>')
  }
  const client = createClient()
  t.equal(renderToString(createElement(AICanvasProvider, { client }, createElement(Component))), '<p>idle idle false undefined</p>')
  t.equal(client.state, 'idle')
  t.equal(timers(), before, 'and rendering leaves nothing behind')
})
