import type { WebSocket as PageSocket } from 'playwright-core'
import t from 'tap'
import { startApp } from '../support/app.js'
import { until } from '../support/until.js'
import { launch, noBrowser, openTab } from './support/browser.js'
import { says } from './support/canvas-page.js'
import { openWorkshop } from './support/workshop.js'

// React's Fast Refresh runs every effect and memo of an edited component again and keeps its state. If an edit adds or removes
// a hook, the component is remounted.

const MAIN = `
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.jsx'

createRoot(document.getElementById('root')).render(<StrictMode><App /></StrictMode>)
`

const APP = `
import { Job } from './job.jsx'

const server = new URLSearchParams(location.search).get('server')
export function App () { return <Job url={server} /> }
`

const JOB = `
import { useEffect, useState } from 'react'
import { useAIWebSocket, useWebSocket } from 'ai-canvas-ws/react'

export function Job ({ url }) {
  const [clicks, setClicks] = useState(0)
  const { aiStatus, aiText, state } = useAIWebSocket('a', { url })
  const { lastMessage, send } = useWebSocket({ url })
  useEffect(() => { send({ type: 'subscribe', sessionId: 'extra' }) }, [send])
  return (
    <main>
      <p role="note">first edition</p>
      <button onClick={() => { setClicks(clicks + 1) }}>{clicks} clicks</button>
      <p role="status">{state}, {aiStatus}: {aiText}</p>
      <p role="log">{lastMessage?.text}</p>
    </main>
  )
}
`

/** A message about one or several sessions. */
interface Said {
  type: string
  sessionId: string
  sessions?: Array<string | { sessionId: string }>
}

t.test('hot reload', { skip: noBrowser }, async (t) => {
  const { app, url } = await startApp(t)
  const { wsManager } = app
  const workshop = await openWorkshop(t, { 'main.jsx': MAIN, 'app.jsx': APP, 'job.jsx': JOB })
  const browser = await launch(t)
  const { page } = await openTab(t, browser, 'about:blank')

  const sockets: PageSocket[] = []
  const sent: string[] = []
  page.on('websocket', (socket) => {
    if (!socket.url().startsWith(url())) return
    sockets.push(socket)
    socket.on('framesent', ({ payload }) => { sent.push(String(payload)) })
  })
  await page.goto(workshop.url(url()))
  const [note, status, log] = [page.getByRole('note'), page.getByRole('status'), page.getByRole('log')]
  /** Returns the number of the session's subscribers on the server. */
  const following = (sessionId: string): Promise<number> =>
    wsManager.broadcastToSession(sessionId, { type: 'note', text: `to ${sessionId}` }, { durable: false }).then(({ recipients }) => recipients)
  const saidOf = (type: string): string[] => sent.map((text) => JSON.parse(text) as Said)
    .filter((message) => message.type === type)
    .flatMap(({ sessionId, sessions = [sessionId] }) => sessions.map((entry) => typeof entry === 'string' ? entry : entry.sessionId)).sort()

  await says(status, 'connected, idle')
  await page.getByRole('button').click()
  const job = wsManager.startAI('a', { prompt: 'x' })
  job.progress({ chunksReceived: 1, delta: 'once ' })
  await says(status, 'connected, processing: once')
  await wsManager.broadcastToSession('extra', { type: 'note', text: 'to extra' })
  await says(log, 'to extra')
  t.same(saidOf('subscribe'), ['a', 'extra'], 'each session is requested once')

  await t.test('an edited component keeps its connection, its job and its state', async (t) => {
    const asked = saidOf('subscribe')
    for (const [from, to] of [['first', 'second'], ['second', 'third'], ['third', 'fourth']] as const) {
      workshop.edit('job.jsx', `${from} edition`, `${to} edition`)
      await says(note, `${to} edition`)
      t.match(await status.textContent(), 'connected, processing: once')
      t.equal(await log.textContent(), 'to extra', 'and its last message')
    }
    t.equal(await page.getByRole('button').textContent(), '1 clicks', 'the page was not reloaded')
    t.equal(sockets.length, 1)
    t.same(saidOf('subscribe'), asked)
    t.same(saidOf('unsubscribe'), [])
    job.progress({ chunksReceived: 2, delta: 'upon ' })
    await says(status, 'connected, processing: once upon')
  })

  await t.test('so does a remounted component', async (t) => {
    const asked = saidOf('subscribe')
    workshop.edit('job.jsx', 'const [clicks', 'const [extra] = useState("fifth edition")\n  const [clicks')
    workshop.edit('job.jsx', 'fourth edition', '{extra}')
    await says(note, 'fifth edition')
    t.equal(await page.getByRole('button').textContent(), '0 clicks', 'it is a new component')
    t.match(await status.textContent(), 'connected, processing: once upon')
    t.equal(sockets.length, 1)
    t.same(saidOf('subscribe'), asked)
    t.same(saidOf('unsubscribe'), [])
  })

  await t.test('when an edit changes the session, the old one is left and the new one subscribed to', async (t) => {
    workshop.edit('job.jsx', 'useAIWebSocket(\'a\'', 'useAIWebSocket(\'b\'')
    await says(status, 'connected, idle')
    await until(() => saidOf('unsubscribe').length > 0)
    t.same(saidOf('unsubscribe'), ['a'])
    wsManager.startAI('b', { prompt: 'x' }).progress({ chunksReceived: 1, delta: 'another' })
    await says(status, 'connected, processing: another')
    t.same([await following('a'), await following('b'), await following('extra')], [0, 1, 1])
    t.equal(sockets.length, 1)
    workshop.edit('job.jsx', 'useAIWebSocket(\'b\'', 'useAIWebSocket(\'a\'')
    await says(status, 'connected, processing: once upon')
    await job.complete({ chunks: 2 })
    await says(status, 'connected, complete: once upon')
  })

  await t.test('removing the hooks closes the connection', async (t) => {
    workshop.edit('app.jsx', '<Job url={server} />', '<p role="note">no job</p>')
    await says(note, 'no job')
    await until(() => wsManager.getStats().totalConnections === 0)
    await until(() => sockets.every((socket) => socket.isClosed()))
    t.equal(sockets.length, 1)
  })
})
