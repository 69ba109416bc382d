import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startApp } from '../support/app.js'
import { launch, noBrowser, openTab } from './support/browser.js'
import { openWorkshop } from './support/workshop.js'

// A page with a long list. Each visible row subscribes to a session of its own.

const ROWS = 1000
const VISIBLE = 20
/** Maximum delay of a visible row, in milliseconds: a second, plus a margin for a busy machine. */
const LATE_MS = 5000

const MAIN = `
import { createRoot } from 'react-dom/client'
import { App } from './app.jsx'

createRoot(document.getElementById('root')).render(<App url={new URLSearchParams(location.search).get('server')} />)
`

/**
 * A list that shows the rows from \`first\` on. A row is correct if it shows the end of its latest job, which is the version
 * that the server published last. \`late\` records for how long visible rows were not correct.
 */
const APP = `
  import { useEffect, useState } from 'react'
  import { useAIWebSocket, useWebSocket } from 'ai-canvas-ws/react'

  const list = globalThis.list = { version: 0, since: 0, worst: 0, closes: 0, errors: [], rows: new Map() }
  const options = {
    onClose () { list.closes++ },
    onError ({ code, message }) { list.errors.push(code + ' ' + message) }
  }

  function Row ({ url, n }) {
    const { aiResult, subscription } = useAIWebSocket('row ' + n, { url })
    const [mountedAt] = useState(() => performance.now())
    useEffect(() => {
      const row = { mountedAt, shown: aiResult?.version, subscription }
      list.rows.set(n, row)
      return () => { if (list.rows.get(n) === row) list.rows.delete(n) }
    })
    return <li>{n}: {subscription}, {aiResult?.version}</li>
  }

  // In each frame: how long have rows been in sight without the version that is there?
  list.check = () => {
    const now = performance.now()
    for (const { mountedAt, shown } of list.rows.values()) {
      if (shown !== list.version) list.worst = Math.max(list.worst, now - Math.max(mountedAt, list.since))
    }
    requestAnimationFrame(list.check)
  }

  export function App ({ url }) {
    const [first, setFirst] = useState(0)
    const [count, setCount] = useState(${VISIBLE})
    Object.assign(list, { setFirst, setCount })
    useWebSocket({ url, ...options, onMessage ({ type, version }) {
      if (type === 'version') Object.assign(list, { version, since: performance.now() })
    } })
    return <ul>{Array.from({ length: count }, (_, at) => <Row key={first + at} url={url} n={first + at} />)}</ul>
  }`

interface List {
  worst: number
  closes: number
  errors: string[]
  shown: number[]
  waiting: number
}

t.test('1,000 rows that are scrolled at random for 20 seconds', { skip: noBrowser }, async (t) => {
  const { app: { wsManager }, url } = await startApp(t)
  const workshop = await openWorkshop(t, { 'main.jsx': MAIN, 'app.jsx': APP })
  let version = 0
  const publish = (): void => {
    version++
    for (let n = 0; n < ROWS; n++) void wsManager.notifyAIComplete(`row ${n}`, { version })
    void wsManager.broadcast({ type: 'version', version })
  }
  publish()
  const browser = await launch(t)
  const { page } = await openTab(t, browser, workshop.url(url()))
  const look = (): Promise<List> => page.evaluate<List>(`({
    worst: list.worst, closes: list.closes, errors: list.errors,
    shown: [...list.rows.values()].map(({ shown }) => shown), waiting: [...list.rows.values()].filter(({ subscription }) => subscription === 'waiting').length
  })`)
  await page.waitForFunction(`list.rows.size === ${VISIBLE} && [...list.rows.values()].every(({ shown }) => shown === 1)`)
  publish()
  await page.waitForFunction('list.version === 2')
  await page.evaluate('list.check()')

  await t.test('every visible row is correct, and nothing is refused or closed', async (t) => {
    // In bursts, because rows that are visible only briefly can't be judged.
    const scrolling = page.evaluate(`(async () => {
      const end = performance.now() + 20000
      while (performance.now() < end) {
        for (let jumps = 0; jumps < 30; jumps++) {
          list.setFirst(Math.floor(Math.random() * ${ROWS - VISIBLE}))
          await new Promise((resolve) => { setTimeout(resolve, 16 + Math.random() * 84) })
        }
        await new Promise((resolve) => { setTimeout(resolve, 1500) })
      }
    })()`)
    const publishing = setInterval(publish, 700)
    await scrolling
    clearInterval(publishing)
    await page.waitForFunction(`[...list.rows.values()].every(({ shown }) => shown === ${version})`)
    const { worst, closes, errors, shown } = await look()
    t.same(shown, Array.from({ length: VISIBLE }, () => version))
    t.same([closes, errors], [0, []])
    t.comment(`the latest row was correct after ${worst.toFixed()} ms`)
    t.ok(worst < LATE_MS, `${worst.toFixed()} ms`)
    t.equal(wsManager.getStats().totalConnections, 1)
    t.equal(wsManager.getMetrics().closes.rateLimited ?? 0, 0)
  })

  await t.test('when all rows are visible, as many as the server allows are subscribed and the others show that they wait', async (t) => {
    await page.evaluate(`list.setFirst(0); list.setCount(${ROWS})`)
    await page.waitForFunction('[...list.rows.values()].filter(({ subscription }) => subscription === "subscribed").length === 250')
    await sleep(1000)
    const { waiting, closes, errors } = await look()
    t.same([waiting, closes, errors], [ROWS - 250, 0, []])
    await page.evaluate(`list.setFirst(${ROWS - VISIBLE}); list.setCount(${VISIBLE})`)
    await page.waitForFunction(`[...list.rows.values()].every(({ shown }) => shown === ${version})`)
    t.equal(wsManager.getStats().totalConnections, 1)
  })
})
