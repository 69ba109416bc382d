import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { FakeSocket } from '../support/fake-page.js'
import { page } from './dom.js'
import type * as Kit from './kit.js'

const start = (seq: number, jobId = 'j', sessionId = 's'): object => ({ type: 'ai_start', sessionId, task: { prompt: 'x' }, timestamp: 't', jobId, seq })
const progress = (chunksReceived: number, jobId = 'j', sessionId = 's'): object => ({ type: 'ai_progress', sessionId, progress: { chunksReceived }, timestamp: 't', jobId })
const complete = (seq: number, jobId = 'j', sessionId = 's'): object => ({ type: 'ai_complete', sessionId, result: { chunks: 1 }, timestamp: 't', jobId, seq })

/** Tests the hooks' behaviour with the React that the kit contains. */
export function suite ({ act, cleanup, render, renderHook, createElement, StrictMode, useEffect, hydrateRoot, renderToString, hooks, createClient }: typeof Kit): void {
  const { useWebSocket, useAIWebSocket, AICanvasProvider } = hooks

  t.afterEach(async () => {
    cleanup()
    // The last hook to be unmounted closes the connection at the end of the turn.
    await sleep(2)
    page.sockets.length = 0
  })

  /** Accepts the page's socket, as the server does. */
  async function admit (fields: object = {}): Promise<FakeSocket> {
    const { socket } = page
    await act(async () => {
      const sessionId = socket.query.sessionId
      socket.admit({ ...(sessionId !== undefined && { sessionId, epoch: 'e', seq: 0, recovered: false, reason: 'new', replaying: 0 }), ...fields })
    })
    return socket
  }
  const say = (socket: FakeSocket, ...messages: object[]): Promise<void> => act(async () => { socket.say(...messages) })

  t.test('useWebSocket connects to the page\'s host and shows received messages', async (t) => {
    const messages: string[] = []
    const { result } = renderHook(() => useWebSocket({ sessionId: 's', onMessage: ({ type }) => { messages.push(type) } }))
    t.match(result.current, { isConnected: false, state: 'connecting', lastMessage: undefined })
    t.equal(page.socket.url.href, 'ws://app.example/ws')
    const socket = await admit()
    t.match(socket.sent, [{ type: 'subscribe', sessionId: 's' }])
    t.equal(result.current.isConnected, true)
    await say(socket, { type: 'note', hello: 1 })
    await act(() => sleep(20))
    t.match(result.current.lastMessage, { type: 'note', hello: 1 })
    t.same(messages, ['connection', 'note'])
    result.current.send({ type: 'ping' })
    t.equal(socket.types.at(-1), 'ping')
  })

  t.test('useAIWebSocket shows a job from start to end', async (t) => {
    const { result } = renderHook(() => useAIWebSocket('s'))
    t.match(result.current, { isConnected: false, aiStatus: 'idle', aiProgress: undefined, aiText: '', aiResult: undefined, aiError: undefined })
    const socket = await admit()
    await say(socket, { type: 'subscribed', sessionId: 's', epoch: 'e', seq: 0, recovered: false, reason: 'new', replaying: 0 }, start(1))
    t.match(result.current, { isConnected: true, aiStatus: 'processing', sessionId: 's', job: { task: { prompt: 'x' } } })
    await say(socket, { ...progress(3), progress: { chunksReceived: 3, delta: 'hello', offset: 0 } })
    await act(() => sleep(20))
    t.match(result.current, { aiProgress: { chunksReceived: 3 }, aiText: 'hello' })
    result.current.cancel()
    t.match(socket.sent.at(-1), { type: 'cancel', sessionId: 's', jobId: 'j' })
    await say(socket, complete(2))
    t.match(result.current, { aiStatus: 'complete', aiResult: { chunks: 1 }, aiText: 'hello' })
    await say(socket, { type: 'ai_error', sessionId: 's', error: { message: 'm', type: 'x' }, timestamp: 't', jobId: 'k', seq: 3 })
    t.match(result.current, { aiStatus: 'error', aiError: { message: 'm' }, aiResult: undefined, aiText: '' })
  })

  t.test('hooks with the same URL, user id and user key share one socket; others don\'t', async (t) => {
    const view = renderHook(() => [
      useWebSocket(), useAIWebSocket('s'), useWebSocket({ sessionId: 'r' }), useWebSocket({ userId: 'u' }), useAIWebSocket('s', { userKey: 'k' })
    ])
    t.equal(page.sockets.length, 3)
    view.unmount()
    t.same(page.sockets.map(({ closedWith }) => closedWith), [undefined, undefined, undefined])
    await sleep(2)
    t.same(page.sockets.map(({ closedWith }) => closedWith), [1000, 1000, 1000], 'and the last hook to be unmounted closes it')
  })

  t.test('another user never inherits a connection', async (t) => {
    const view = renderHook(({ userKey }) => useWebSocket({ userKey, getToken: () => userKey }), { initialProps: { userKey: 'ann' } })
    await act(() => sleep(2))
    const first = await admit()
    await say(first, { type: 'note', to: 'ann' })
    await act(() => sleep(20))
    t.match(view.result.current.lastMessage, { to: 'ann' })
    view.rerender({ userKey: 'bob' })
    t.equal(view.result.current.lastMessage, undefined)
    await act(() => sleep(2))
    t.equal(page.sockets.length, 2)
    t.equal(first.closedWith, 1000)
    t.same(page.socket.protocols[1], `ai-canvas.token.${Buffer.from('bob').toString('base64url')}`)
  })

  t.test('StrictMode opens one connection', async (t) => {
    const Component = (): null => {
      useAIWebSocket('s')
      return null
    }
    render(createElement(StrictMode, null, createElement(Component)))
    await act(() => sleep(5))
    t.equal(page.sockets.length, 1)
    const socket = await admit()
    t.same(socket.types, ['subscribe'])
    t.equal(socket.closedWith, undefined)
  })

  t.test('new options on each render don\'t cause a reconnect, and the latest callbacks are called', async (t) => {
    const heard: string[] = []
    const view = renderHook(({ name }) => {
      const note = (what: string) => () => { heard.push(`${name} ${what}`) }
      return useWebSocket({ onMessage: note('message'), onOpen: note('open'), onClose: note('close'), onError: note('error'), onGap: note('gap') })
    }, { initialProps: { name: 'first' } })
    const send = view.result.current.send
    view.rerender({ name: 'second' })
    const socket = await admit({ user: { epoch: 'u', seq: 0 } })
    view.rerender({ name: 'third' })
    await act(async () => { socket.end(1012) })
    t.same(heard, ['second message', 'second open', 'third close'])
    t.equal(view.result.current.send, send)
    await act(() => sleep(600))
    if (page.sockets.length === 1) await act(() => sleep(500))
    await admit({ user: { epoch: 'v', seq: 0, recovered: false, reason: 'restarted' } })
    await say(page.socket, { type: 'error', code: 'unknown_type', message: 'm', timestamp: 't' })
    t.same(heard.slice(3), ['third message', 'third open', 'third gap', 'third message', 'third error'])
  })

  t.test('a hook that joins an open connection gets one `onOpen`, as for a connection of its own', async (t) => {
    const opened: string[] = []
    const Hook = ({ name, strikes = false }: { name: string, strikes?: boolean }): null => {
      const { send } = useWebSocket({
        onOpen ({ clientId }) {
          opened.push(`${name} ${clientId}`)
          send({ type: `hello_of_${name}` })
          if (strikes) throw new Error('of a listener')
        }
      })
      return null
    }
    const tree = (...children: Array<ReturnType<typeof createElement>>) => createElement(StrictMode, null, ...children)
    const hook = (name: string, strikes = false): ReturnType<typeof createElement> => createElement(Hook, { key: name, name, strikes })
    const view = render(tree(hook('first')))
    await act(() => sleep(2))
    view.rerender(tree(hook('first'), hook('early')))
    await act(() => sleep(2))
    t.same(opened, [], 'nothing is open yet')
    const socket = await admit({ clientId: 'c1' })
    t.same(opened.splice(0), ['first c1', 'early c1'])
    view.rerender(tree(hook('first'), hook('early'), hook('late')))
    await act(() => sleep(2))
    t.same(opened.splice(0), ['late c1'])
    t.same(socket.types, ['hello_of_first', 'hello_of_early', 'hello_of_late'])

    const uncaught = new Promise((resolve) => { process.once('uncaughtException', resolve) })
    view.rerender(tree(hook('first'), hook('late'), hook('rude', true)))
    t.match(await uncaught, { message: 'of a listener' }, 'the error is uncaught and has no other effect')
    t.same(opened.splice(0), ['rude c1'])

    await act(async () => { socket.end(1012) })
    view.rerender(tree(hook('first'), hook('late'), hook('waiting')))
    await act(() => sleep(2))
    t.same(opened, [], 'a hook that joins before the connection opens waits with the others')
    while (page.socket === socket) await act(() => sleep(20))
    await admit({ clientId: 'c2' })
    t.same(opened, ['first c2', 'late c2', 'waiting c2'])
  })

  t.test('`getToken` is the one of the latest render of a mounted hook', async (t) => {
    const Component = ({ token }: { token: string }): null => {
      useWebSocket({ getToken: () => token })
      return null
    }
    const view = render(createElement(Component, { token: 'old' }))
    view.rerender(createElement(Component, { token: 'new' }))
    await act(() => sleep(2))
    await admit()
    view.rerender(createElement(Component, { token: 'newest' }))
    await act(async () => { page.socket.end(4002, 'Token expired') })
    await act(() => sleep(1100))
    t.match(page.socket.protocols[1], Buffer.from('newest').toString('base64url'))
  })

  t.test('no message is lost in a burst, and there is at most one render per frame', async (t) => {
    let renders = 0
    const messages: unknown[] = []
    const view = renderHook(() => {
      renders++
      return [useAIWebSocket('s'), useWebSocket({ sessionId: 's', onMessage: (message) => { if (message.type === 'ai_progress') messages.push(message) } })] as const
    })
    const socket = await admit()
    await say(socket, { type: 'subscribed', sessionId: 's', epoch: 'e', seq: 0 }, start(1))
    const before = renders
    const began = performance.now()
    await act(async () => {
      for (let i = 1; i <= 1000; i++) {
        socket.say(progress(i))
        if (i % 10 === 0) await sleep(1)
      }
    })
    await act(async () => { socket.say(complete(2)) })
    const frames = (performance.now() - began) / 17
    t.equal(messages.length, 1000)
    t.match(view.result.current[0], { aiStatus: 'complete', aiProgress: { chunksReceived: 1000 } })
    t.match(view.result.current[1].lastMessage, { type: 'ai_complete' })
    t.ok(renders - before <= 2 * frames + 4, `${renders - before} renders in ${frames} frames, by two hooks`)
  })

  t.test('the end of a job is shown in the same turn', async (t) => {
    const { result } = renderHook(() => useAIWebSocket('s'))
    const socket = await admit()
    await act(async () => { socket.say({ type: 'subscribed', sessionId: 's', epoch: 'e', seq: 0 }, start(1), progress(1), progress(2), complete(2)) })
    t.match(result.current, { aiStatus: 'complete', aiProgress: { chunksReceived: 2 } })
  })

  t.test('`subscribe` switches only its own hook, and a new argument switches it back', async (t) => {
    const view = renderHook(({ id }) => [useAIWebSocket(id), useAIWebSocket('a')] as const, { initialProps: { id: 'a' } })
    const socket = await admit()
    await act(async () => { view.result.current[0].subscribe('b') })
    await act(() => sleep(2))
    t.same(view.result.current.map(({ sessionId }) => sessionId), ['b', 'a'])
    t.same(socket.sent.map(({ type, sessionId }) => [type, sessionId as string]), [['subscribe', 'a'], ['subscribe', 'b']], 'the other hook keeps its session')
    await say(socket, { type: 'subscribed', sessionId: 'b', epoch: 'e', seq: 0 }, start(1, 'j', 'b'))
    t.same(view.result.current.map(({ aiStatus }) => aiStatus), ['processing', 'idle'])
    view.rerender({ id: 'c' })
    await act(() => sleep(2))
    t.equal(view.result.current[0].sessionId, 'c')
    t.same(socket.sent.slice(2).map(({ type, sessionId }) => [type, sessionId as string]), [['unsubscribe', 'b'], ['subscribe', 'c']])
  })

  t.test('`send` of subscribe and unsubscribe affects one hook, which receives only messages of its own sessions', async (t) => {
    const view = renderHook(() => [useWebSocket(), useWebSocket({ sessionId: 'a' })] as const)
    const socket = await admit()
    await act(async () => {
      view.result.current[0].send({ type: 'subscribe', sessionId: 'b' })
      await sleep(2)
    })
    t.match(socket.sent.at(-1), { type: 'subscribe', sessionId: 'b' })
    await say(socket, { type: 'subscribed', sessionId: 'b', epoch: 'e', seq: 0 }, { type: 'note', sessionId: 'b', seq: 1 })
    await act(() => sleep(20))
    t.same(view.result.current.map(({ lastMessage }) => lastMessage?.type), ['note', 'connection'])
    await act(async () => {
      view.result.current[0].send({ type: 'unsubscribe', sessionId: 'x' })
      view.result.current[0].send({ type: 'unsubscribe' })
      await sleep(2)
    })
    t.match(socket.sent.at(-1), { type: 'unsubscribe', sessionId: 'b' })
  })

  t.test('a message that a child sends in its first effect is sent', async (t) => {
    const Child = ({ send }: { send: (message: { type: string }) => void }): null => {
      useEffect(() => { send({ type: 'hello' }) }, [send])
      return null
    }
    const Parent = () => createElement(Child, { send: useWebSocket().send })
    render(createElement(Parent))
    const socket = await admit()
    t.same(socket.types, ['hello'])
  })

  t.test('exceeding the queue before the hook is mounted is an error that names the option', async (t) => {
    const refusals: unknown[] = []
    const Child = ({ send }: { send: (message: { type: string }) => void }): null => {
      useEffect(() => {
        for (let n = 0; n < 5; n++) {
          try {
            send({ type: 'hello' })
          } catch (error) {
            refusals.push((error as { code?: unknown }).code)
          }
        }
      }, [send])
      return null
    }
    const Parent = (): ReturnType<typeof createElement> => {
      const { send } = useWebSocket({ maxQueuedMessages: 3 })
      return createElement(Child, { send })
    }
    render(createElement(Parent))
    const socket = await admit()
    t.same(refusals, ['queue_full', 'queue_full'])
    t.same(socket.types, ['hello', 'hello', 'hello'])
  })

  t.test('a message sent after unmounting is never sent, and is reported', async (t) => {
    const errors: string[] = []
    const first = renderHook(() => useWebSocket({ onError: ({ code }) => { errors.push(code) } }))
    const silent = renderHook(() => useAIWebSocket('s'))
    await admit()
    const { send } = first.result.current
    first.unmount()
    for (let n = 0; n < 1000; n++) send({ type: 'late' })
    t.same([errors.length, errors[0]], [1000, 'not_sent'])
    const { send: sendSilently } = silent.result.current
    silent.unmount()
    sendSilently({ type: 'late' })
    renderHook(() => useWebSocket())
    await act(() => sleep(5))
    t.notOk(page.sockets.some(({ types }) => types.includes('late')))
  })

  t.test('an `onMessage` that throws does not hide the message', async (t) => {
    const { result } = renderHook(() => useWebSocket({ onMessage: ({ type }) => { if (type === 'note') throw new Error('of a listener') } }))
    const socket = await admit()
    const uncaught = new Promise((resolve) => { process.once('uncaughtException', resolve) })
    await say(socket, { type: 'note' })
    t.match(await uncaught, { message: 'of a listener' })
    await act(() => sleep(20))
    t.equal(result.current.lastMessage?.type, 'note')
  })

  t.test('a session is known when its state has arrived, and a refusal differs from an empty session', async (t) => {
    const { result } = renderHook(() => useAIWebSocket('s'))
    t.match(result.current, { isKnown: false, subscription: 'pending', aiStatus: 'idle', jobs: [] })
    const socket = await admit()
    t.match(result.current, { isConnected: true, isKnown: false, subscription: 'pending', aiStatus: 'idle' })
    await say(socket, { type: 'subscribed', sessionId: 's', epoch: 'e', seq: 1, recovered: false, reason: 'new', replaying: 1 })
    t.match(result.current, { isKnown: false, subscription: 'subscribed', aiStatus: 'idle' })
    await say(socket, start(1))
    t.match(result.current, { isKnown: true, aiStatus: 'processing' })
    t.ok(Array.isArray(result.current.jobs))
    t.equal(result.current.jobs[0], result.current.job)
    t.equal(result.current.findJob('j'), result.current.job)
    t.equal(result.current.findJob('k'), undefined)
    await say(socket, { type: 'unsubscribed', sessionId: 's', timestamp: 't', reason: 'revoked' })
    t.match(result.current, { subscription: 'refused', aiError: { type: 'lost' } })
  })

  t.test('a cancel that can\'t be sent calls `onError` and does not throw', async (t) => {
    const errors: unknown[] = []
    const { result } = renderHook(() => useAIWebSocket('s', { onError: ({ code, sessionId }) => { errors.push([code, sessionId]) } }))
    const socket = await admit()
    await act(async () => { socket.end(4502) })
    result.current.cancel()
    t.same(errors, [['closed', 's']])
  })

  t.test('without a session the hook only connects', async (t) => {
    const { result } = renderHook(() => useAIWebSocket(undefined))
    const socket = await admit()
    result.current.cancel()
    t.match(result.current, { isConnected: true, aiStatus: 'idle', sessionId: undefined })
    t.same(socket.sent, [])
  })

  t.test('a provider\'s client is used and not closed', async (t) => {
    const client = createClient({ url: 'ws://other.example/ws' })
    const Component = () => createElement('p', null, useAIWebSocket('s').aiStatus)
    const view = render(createElement(AICanvasProvider, { client }, createElement(Component)))
    t.equal(page.socket.url.host, 'other.example')
    await admit()
    view.unmount()
    await sleep(2)
    t.equal(client.state, 'connected')
    const again = render(createElement(AICanvasProvider, { client }, createElement(Component)))
    t.equal(again.container.textContent, 'idle')
    client.close()
  })

  t.test('server-side rendering has no side effects, and its markup equals the first render\'s', async (t) => {
    const Component = () => {
      const { aiStatus, state } = useAIWebSocket('s')
      const { isConnected, lastMessage } = useWebSocket({ sessionId: 's' })
      return createElement('p', null, `${aiStatus} ${state} ${String(isConnected)} ${typeof lastMessage}`)
    }
    t.equal(renderToString(createElement(Component)), '<p>idle idle false undefined</p>')
    t.equal(page.sockets.length, 0)
  })
  t.test('server-rendered markup hydrates without changes, even if a connection is already open', async (t) => {
    const renders: string[] = []
    const Component = () => {
      const { aiStatus, state } = useAIWebSocket('s')
      const { lastMessage } = useWebSocket({ sessionId: 's' })
      renders.push(aiStatus)
      return createElement('p', null, `${aiStatus} ${state} ${typeof lastMessage}`)
    }
    const markup = renderToString(createElement(Component))
    const other = renderHook(() => useAIWebSocket('s'))
    const socket = await admit()
    await say(socket, { type: 'subscribed', sessionId: 's', epoch: 'e', seq: 0 }, start(1))
    t.equal(other.result.current.aiStatus, 'processing')

    const container = document.body.appendChild(document.createElement('div'))
    container.innerHTML = markup
    const mismatches: unknown[] = []
    renders.length = 0
    const root = await act(async () => hydrateRoot(container, createElement(Component), { onRecoverableError: (error) => { mismatches.push(error) } }))
    t.same(mismatches, [])
    t.equal(renders[0], 'idle', 'it begins with the server\'s state')
    t.equal(container.textContent, 'processing connected undefined')
    t.equal(page.sockets.length, 1)
    await act(async () => { root.unmount() })
    container.remove()
  })

  t.test('a store\'s server snapshot is always the same, whatever the client\'s state', async (t) => {
    const client = createClient({ url: 'ws://other.example/ws', sessionId: 's' })
    const store = client.jobStore('s')
    const before = store.getServerSnapshot()
    client.connect()
    await admit()
    await say(page.socket, start(1))
    t.not(store.getSnapshot().latest, undefined)
    t.equal(store.getServerSnapshot(), before)
    t.same([before.latest, before.jobs.length], [undefined, 0])
    client.close()
  })
}
