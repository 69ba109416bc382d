import t from 'tap'
import { startApp } from '../support/app.js'
import { launchBare } from './support/bare-browser.js'
import { launch, noBrowser, openTab } from './support/browser.js'
import { says } from './support/canvas-page.js'
import { layLine } from './support/line.js'
import { openWorkshop } from './support/workshop.js'

// Tests of the hooks that need a real browser's scheduling: frames, tasks and hidden tabs.

const MAIN = `
import { createRoot } from 'react-dom/client'
import { App } from './app.jsx'

createRoot(document.getElementById('root')).render(<App url={new URLSearchParams(location.search).get('server')} />)
`

t.test('a hidden tab', { skip: noBrowser }, async (t) => {
  const { app: { wsManager }, origin } = await startApp(t)
  const line = await layLine(t, Number(new URL(origin).port))
  const workshop = await openWorkshop(t, {
    'main.jsx': MAIN,
    'app.jsx': `
      import { useAIWebSocket } from 'ai-canvas-ws/react'

      export function App ({ url }) {
        const { state, aiStatus, aiText } = useAIWebSocket('s', { url })
        return <p>{state}, {aiStatus}: {aiText}</p>
      }`
  })
  const browser = await launchBare(t)
  const tab = await browser.openTab(workshop.url(`ws://127.0.0.1:${line.port}/ws`))
  const shows = (text: string): Promise<void> => tab.until(`document.querySelector('p')?.textContent === ${JSON.stringify(text)}`)
  await shows('connected, idle: ')

  await browser.openTab('about:blank')
  await tab.evaluate('frames = 0; (function frame () { requestAnimationFrame(() => { frames++; frame() }) })()')
  /** Returns whether the tab was hidden all the time and rendered no frame. */
  const wasHidden = async (): Promise<boolean> => await tab.evaluate('document.hidden && frames === 0') === true

  await t.test('shows the job\'s progress and end without a frame', async (t) => {
    const job = wsManager.startAI('s', { prompt: 'x' })
    await shows('connected, processing: ')
    for (let i = 0; i < 200; i++) job.progress({ chunksReceived: i + 1, delta: '.' })
    await shows(`connected, processing: ${'.'.repeat(200)}`)
    job.progress({ chunksReceived: 201, delta: '!' })
    job.complete({ chunks: 201 })
    await shows(`connected, complete: ${'.'.repeat(200)}!`)
    t.ok(await wasHidden())
  })

  await t.test('reconnects after a disconnect and shows the job\'s end', async (t) => {
    const job = wsManager.startAI('s', { prompt: 'x' })
    job.progress({ chunksReceived: 1, delta: 'before, ' })
    await shows('connected, processing: before, ')
    line.cut()
    job.progress({ chunksReceived: 2, delta: 'during' })
    job.complete({ chunks: 2 })
    await shows('connected, complete: before, during')
    t.ok(await wasHidden())
  })

  await t.test('continues when it becomes visible again', async (t) => {
    await tab.show()
    await tab.evaluate('new Promise((resolve) => { requestAnimationFrame(resolve) })')
    t.equal(await tab.evaluate('document.querySelector("p").textContent'), 'connected, complete: before, during')
    wsManager.startAI('s', { prompt: 'x' })
    await shows('connected, processing: ')
    t.equal(wsManager.getStats().totalConnections, 1)
  })
})

interface Seen extends Record<'job' | 'latest' | 'naive' | 'began' | 'ended', number> {
  notes: number[]
  shownAtEnd: string
}

t.test('a thousand messages in a second', { skip: noBrowser }, async (t) => {
  const { app: { wsManager }, url } = await startApp(t)
  const workshop = await openWorkshop(t, {
    'main.jsx': MAIN,
    'app.jsx': `
      import { useState, useEffect } from 'react'
      import { flushSync } from 'react-dom'
      import { useAIWebSocket, useWebSocket } from 'ai-canvas-ws/react'

      // What the page has seen: how often each component was rendered, and what came
      const seen = globalThis.seen = { job: 0, latest: 0, naive: 0, notes: [], began: 0, ended: 0, shownAtEnd: '' }

      function Job ({ url }) {
        seen.job++
        const { state, aiStatus, aiProgress } = useAIWebSocket('s', { url, onMessage ({ type }) {
          if (type === 'ai_start') seen.began = performance.now()
          // A task of its own, after whatever this message made React do
          if (type === 'ai_complete') setTimeout(() => {
            seen.ended = performance.now()
            seen.shownAtEnd = document.querySelector('[role=status]').textContent
          })
        } })
        return <p role="status">{state}, {aiStatus}: {aiProgress?.chunksReceived}</p>
      }

      function Latest ({ url }) {
        seen.latest++
        const { lastMessage } = useWebSocket({ sessionId: 's', url, onMessage (message) { if (message.type === 'note') seen.notes.push(message.at) } })
        return <p>{lastMessage?.type}</p>
      }

      // What people write by hand, to see that there is something to see
      function Naive ({ url }) {
        seen.naive++
        const [, setMessage] = useState()
        useEffect(() => {
          const socket = new WebSocket(url + '?sessionId=s')
          socket.onmessage = ({ data }) => { flushSync(() => { setMessage(JSON.parse(data)) }) }
          return () => { socket.close() }
        }, [])
        return null
      }

      export function App ({ url }) { return <><Job url={url} /><Latest url={url} /><Naive url={url} /></> }`
  })
  const browser = await launch(t)
  const { page } = await openTab(t, browser, workshop.url(url()))
  const status = page.getByRole('status')
  await says(status, 'connected, idle')
  while (wsManager.getStats({ sessionId: 's' }).clients.length < 2) await new Promise((resolve) => { setTimeout(resolve, 10) })

  const job = wsManager.startAI('s', { prompt: 'x' })
  await says(status, 'connected, processing')
  await page.evaluate('Object.assign(seen, { job: 0, latest: 0, naive: 0 })')
  for (let at = 0; at < 1000; at++) {
    job.progress({ chunksReceived: at + 1 })
    void wsManager.broadcastToSession('s', { type: 'note', at }, { durable: false })
    if (at % 10 === 9) await new Promise((resolve) => { setTimeout(resolve, 8) })
  }
  await job.complete({ chunks: 1000 })
  await says(status, 'complete')
  await page.waitForFunction('seen.ended > 0 && seen.naive > 1000')
  const seen = await page.evaluate<Seen>('seen')
  const frames = (seen.ended - seen.began) / (1000 / 60)

  t.same(seen.notes, Array.from({ length: 1000 }, (_, at) => at), 'each is emitted, in order')
  t.ok(seen.job <= frames + 3, `${seen.job} renders of the job in ${frames.toFixed()} frames`)
  t.ok(seen.latest <= frames + 3, `${seen.latest} renders of the latest message`)
  t.ok(seen.naive > 1000, `and ${seen.naive} with one render per message`)
  t.equal(seen.shownAtEnd, 'connected, complete: 1000', 'the end is shown in the same turn')
})
