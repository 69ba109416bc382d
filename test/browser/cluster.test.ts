import { once } from 'node:events'
import t from 'tap'
import { runScript } from '../support/child.js'
import { haproxy } from '../support/real-parts.js'
import { withoutRedis } from '../support/redis-server.js'
import { launch, noBrowser, openTab } from './support/browser.js'
import { CanvasPage, says, textOf } from './support/canvas-page.js'
import { buildPage } from './support/stage.js'

const withoutProxy = haproxy.find() === undefined && process.env.CI !== 'true' ? 'HAProxy is not installed: run "npm run setup"' : false

t.test('three nodes behind HAProxy: the page shows which one serves it, and survives its kill -9', { skip: noBrowser || withoutRedis || withoutProxy, timeout: 300_000 }, async (t) => {
  buildPage()
  const cluster = runScript(t, new URL('../../examples/cluster/start.ts', import.meta.url), { PORT: '0', NODE_OPTIONS: '', DOCUMENT_SECONDS: '20' })
  // Runs before the teardown that kills the script, so that the script can end the processes that it has started.
  t.teardown(async () => {
    const exited = once(cluster.process, 'exit')
    if (cluster.process.kill('SIGTERM')) await exited
  })
  const origin = /open (http:\/\/localhost:\d+)/.exec(await cluster.next())![1]!
  const browser = await launch(t)
  const { page } = await openTab(t, browser, `${origin}/?sessionId=killed`)
  const canvas = new CanvasPage(page)
  const { you, second } = canvas
  const servedBy = async (panel: typeof you): Promise<string> => {
    await says(panel.panel, /served by node-\d/)
    return /served by (node-\d)/.exec(await textOf(panel.panel))![1]!
  }
  const before = await servedBy(you)
  t.not(await servedBy(second), before, 'the load balancer spreads the connections')
  const pid = Number(/kill -9 (\d+)/.exec(await textOf(canvas.step('Kill the server')))![1])

  await canvas.form.getByLabel('File', { exact: true }).fill('lib/util/clock.ts')
  await canvas.start()
  for (const each of [you, second]) await says(each.text, 'lib/util/clock.ts')
  process.kill(pid, 'SIGKILL')
  await says(canvas.step('Kill the server'), 'done')
  t.not(await servedBy(you), before)
  for (const each of [you, second]) await says(each.job, 'Complete')
  const { content, contentLength } = await (await fetch(`${origin}/api/agent/result?sessionId=killed`)).json() as { content: string, contentLength: number }
  t.equal(content.length, contentLength)
  for (const each of [you, second]) {
    t.equal(Number(/([\d,]+) characters/.exec(await textOf(each.panel))![1]!.replace(',', '')), contentLength, 'the whole text')
  }
})
