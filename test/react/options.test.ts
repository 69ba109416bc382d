import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { page } from './dom.js'
import type { UseWebSocketOptions } from '../../lib/react/index.js'

const { act, AICanvasProvider, cleanup, createClient, createElement, render, renderHook, renderToString, useAIWebSocket, useWebSocket } =
  await import('./kit.js').then(({ hooks, ...kit }) => ({ ...hooks, ...kit }))

t.afterEach(async () => {
  cleanup()
  await sleep(2)
  page.sockets.length = 0
})

const wrong = { onMesage: () => { /* Never called. */ } } as UseWebSocketOptions

t.test('an unknown option of a hook is an error that names the valid ones', async (t) => {
  t.intercept(console, 'error', { value: () => { /* React's own report of the error. */ } })
  const message = /^the option "onMesage" is unknown: known options are .*\bonMessage, .*\buserKey$/
  t.throws(() => renderHook(() => useWebSocket(wrong)), { name: 'ClientError', code: 'invalid_option', message })
  t.throws(() => renderHook(() => useAIWebSocket('s', wrong)), { message })
  t.throws(() => renderToString(createElement(() => createElement('p', null, useWebSocket(wrong).state))), { message }, 'also on a server')

  renderHook(() => useWebSocket())
  t.throws(() => renderHook(() => useWebSocket(wrong)), { message }, 'also when it joins another hook\'s connection')
  const client = createClient({ url: 'ws://x.example/ws' })
  const Hook = (): null => { useWebSocket(wrong); return null }
  t.throws(() => render(createElement(AICanvasProvider, { client }, createElement(Hook))), { message }, 'or uses a provider\'s client')
  t.throws(() => renderHook(() => useWebSocket({ reconnectInterval: 'x' as unknown as number })), { message: 'the option "reconnectInterval" must be a valid number' })
})

t.test('options that are `null` are ignored', async (t) => {
  const none = {
    url: null, userId: null, userKey: null, getToken: null, reconnect: null, reconnectInterval: null, maxReconnectIntervalMs: null,
    maxReconnectAttempts: null, connectTimeoutMs: null, maxQueuedMessages: null, WebSocket: null,
    onMessage: null, onOpen: null, onClose: null, onError: null, onGap: null
  }
  const view = renderHook(() => [
    useWebSocket({ ...none, sessionId: null }), useWebSocket(null), useWebSocket(), useAIWebSocket(null, none), useAIWebSocket(null, null)
  ] as const)
  t.equal(page.sockets.length, 1, 'the hooks share one connection')
  t.same([page.socket.url.href, page.socket.protocols], ['ws://app.example/ws', ['ai-canvas.v1']])
  await act(async () => { page.socket.admit() })
  t.same(view.result.current.map(({ state }) => state), Array(5).fill('connected'))
  t.same(view.result.current.slice(3).map((hook) => 'sessionId' in hook && hook.sessionId), [undefined, undefined])
  await act(async () => { view.result.current[3].cancel() })
  t.same([page.socket.sent, page.reported], [[], []])
  await act(async () => { page.socket.end(1008) })
  t.equal(view.result.current[0].reason, 'refused', '`getToken: null` does not provide a fresh token')
})
