import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import type { Test } from 'tap'
import { breaches } from './access.js'
import { openTab } from './browser.js'
import { CanvasPage, says, textOf } from './canvas-page.js'
import { setStage, type Stage } from './stage.js'

const SCREENSHOTS = join(import.meta.dirname, '../screenshots/steps')

/** Maximum time until the first word. The median is below 300 ms on an idle machine. */
const FIRST_WORD_MS = 5_000

const RUNS = 10

/** Tests the first minutes of a new user, without a key and without a model. */
export function testDefaultRun (t: Test, browser: Browser): void {
  t.test('the default run', async (t) => {
    const stage = await setStage(t, { isDefault: true })
    mkdirSync(SCREENSHOTS, { recursive: true })

    t.test('jobs that need a model are disabled and say what to configure', async (t) => {
      const canvas = new CanvasPage((await openTab(t, browser, stage.url('picker'))).page)
      await says(canvas.form, 'need a model: start the server with OPENAI_MODEL and OPENAI_BASE_URL (Ollama, vLLM) or OPENAI_API_KEY')
      await says(canvas.form, 'at a language model\'s pace (15 s)')
      for (const name of ['Write', 'Explain']) t.equal(await canvas.form.getByRole('radio', { name }).isDisabled(), true, name)
      t.same(await breaches(canvas.page), [])
    })

    t.test('the first word appears immediately, and the text follows in small pieces', async (t) => {
      const { page } = await openTab(t, browser, stage.url('quick'))
      const canvas = new CanvasPage(page)
      const times: number[] = []
      for (let run = 0; run < RUNS; run++) {
        await page.goto(stage.url(`quick_${run}`))
        await says(canvas.you.connection, /^Connected/)
        await page.evaluate(FIRST_WORD)
        await canvas.start()
        times.push(await page.evaluate<number>('firstWord'))
        await canvas.stop()
        await says(canvas.you.job, 'Stopped')
      }
      times.sort((a, b) => a - b)
      t.comment(`from Start to the first word: ${times.map((ms) => Math.round(ms)).join(', ')} ms`)
      t.ok(times[RUNS / 2]! < FIRST_WORD_MS, `half of them within ${times[RUNS / 2]!} ms`)

      await page.evaluate(GROWTH)
      await canvas.start()
      await says(canvas.you.job, 'Complete')
      const growth = await page.evaluate<{ times: number, largest: number, ms: number }>('growth()')
      t.comment(`the text grew ${growth.times} times in ${Math.round(growth.ms)} ms, by ${growth.largest} characters at most`)
      t.ok(growth.times >= 20, `it grew ${growth.times} times`)
      t.ok(growth.ms > 4_000, `for ${growth.ms} ms`)
      await says(canvas.you.text.getByRole('heading', { level: 4, name: 'WebSocketManager', exact: true }), 'WebSocketManager')
    })

    t.test('the four steps are ticked off', async (t) => {
      const { page, context } = await openTab(t, browser, stage.url('steps'))
      const canvas = new CanvasPage(page)
      const shot = (name: string): Promise<Buffer> => page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true })
      await says(canvas.you.connection, /^Connected/)
      await shot('0-before')

      await canvas.start()
      await says(canvas.step('Start a job'), 'done')
      await says(canvas.you.text, 'lib/manager/manager.ts')
      await shot('1-started')

      await canvas.you.cut.click()
      await says(canvas.you.panel, /[\d,]+ characters? behind the second user/)
      await shot('2-cut')
      await says(canvas.step('Cut your connection'), 'done')
      await says(canvas.you.log, /Caught up: [\d,]+ characters/)
      await shot('3-back')

      const other = await context.newPage()
      await other.goto(stage.url('steps'))
      await says(canvas.step('Open a second tab'), 'done')
      await says(new CanvasPage(other).you.text, 'lib/manager/manager.ts')
      await other.close()

      const command = /kill -9 (\d+)/.exec(await textOf(canvas.step('Kill the server')))!
      t.equal(Number(command[1]), stage.pid(), 'the command kills this server')
      await stage.stop('SIGKILL')
      await says(canvas.you.connection, /^Waiting to reconnect/)
      await stage.start()
      await says(canvas.step('Kill the server'), 'done')
      await says(canvas.step('Kill the server'), `kill -9 ${stage.pid()}`)
      await shot('4-restarted')
      t.same(await breaches(page), [])
    })
  })
}

/** Tests that the page's promises about missed text hold. */
export function testRecovery (t: Test, stage: Stage, browser: Browser): void {
  t.test('missed text is counted while disconnected, and highlighted after recovery', async (t) => {
    const { page } = await openTab(t, browser, stage.url('recovered'))
    const canvas = new CanvasPage(page)
    const { you, second } = canvas
    await canvas.ask('Go on')
    const writing = await stage.model.asked()
    writing.write('**Before** it, ')
    await says(you.text, 'Before it,')
    await says(second.text, 'Before it,')
    t.equal(await you.panel.getAttribute('data-cut'), 'false')
    await you.cut.click()
    await says(you.connection, /^Waiting/)
    t.equal(await you.panel.getAttribute('data-cut'), 'true', 'the text is dimmed')
    t.same(await breaches(page), [], 'and readable')
    writing.write('during *it*, ')
    await says(you.panel, '13 characters behind the second user')
    t.equal(await second.panel.getByText('behind').count(), 0)
    await says(you.log, 'Caught up: 13 characters')
    writing.write('and after.')
    await says(you.text, 'during it, and after.')
    writing.finish()
    await says(second.job, 'Complete')
  })

  t.test('recovered text is highlighted for two seconds', async (t) => {
    const { page } = await openTab(t, browser, stage.url('highlighted'))
    await page.evaluate(WATCH_HIGHLIGHTS)
    const canvas = new CanvasPage(page)
    await canvas.ask('Go on')
    const writing = await stage.model.asked()
    writing.write('**Before** it, ')
    await says(canvas.you.text, 'Before it,')
    await canvas.you.cut.click()
    await says(canvas.you.connection, /^Waiting/)
    writing.write('during *it*, ')
    await says(canvas.you.log, 'Caught up')
    const { text, ms } = await page.evaluate<{ text: string, ms: number }>('highlighted')
    t.equal(text.trim(), 'during it,')
    t.ok(ms > 1_000, `for ${ms} ms`)
    writing.finish()
    await says(canvas.you.job, 'Complete')
  })

  t.test('a page that missed nothing highlights nothing', async (t) => {
    const { page } = await openTab(t, browser, stage.url('silent'))
    const canvas = new CanvasPage(page)
    const { you } = canvas
    await canvas.ask('Go on')
    const writing = await stage.model.asked()
    writing.write('before, ')
    await says(you.text, 'before,')
    await you.cut.click()
    await says(you.log, /Back after/)
    writing.write('after.')
    writing.finish()
    await says(you.job, 'Complete')
    await says(you.text, 'before, after.')
    t.equal(await you.log.getByText('Caught up').count(), 0)
  })

  t.test('the first round trip is not shown, because the page\'s own start delays it', async (t) => {
    const { page } = await openTab(t, browser, 'about:blank')
    let pongs = 0
    let release = (): void => undefined
    await page.routeWebSocket(/\/ws\?/, (near) => {
      const far = near.connectToServer()
      far.onMessage((data) => {
        const { type } = JSON.parse(String(data)) as { type: string }
        if (type === 'pong' && ++pongs <= 2) release = hold(release, () => { near.send(data) })
        else near.send(data)
      })
    })
    await page.goto(stage.url('round_trip'))
    const { you, second } = new CanvasPage(page)
    for (const each of [you, second]) await says(each.connection, /^Connected/)
    await page.evaluate('new Promise((resolve) => { setTimeout(resolve, Math.max(0, 2000 - performance.now())) })')
    t.equal(await page.getByText('Round trip').count(), 0)
    release()
    for (const each of [you, second]) {
      const [, ms] = /Round trip ([\d.]+) ms/.exec(await each.panel.getByText('Round trip').textContent() ?? '')!
      t.ok(Number(ms) < 1_500, `${ms} ms`)
    }
  })

  t.test('a model\'s output is shown as text, whatever it contains', async (t) => {
    const { page } = await openTab(t, browser, stage.url('hostile'))
    const canvas = new CanvasPage(page)
    await canvas.ask('Be evil')
    const writing = await stage.model.asked()
    const asked: string[] = []
    page.on('request', (request) => { asked.push(request.url()) })
    for (const piece of HOSTILE.match(/[^]{1,7}/g)!) writing.write(piece)
    writing.finish()
    await says(canvas.you.job, 'Complete')
    await says(canvas.you.text, 'The end')
    await says(canvas.you.text, '<script>')
    t.same(await page.evaluate(DANGERS), [])
    t.equal(await page.evaluate('"hacked" in window'), false)
    t.same(asked.filter((url) => url.includes('evil')), [])
    t.equal(await canvas.you.text.getByRole('link', { name: 'a link' }).getAttribute('rel'), 'noreferrer')
  })

  t.test('Ctrl+Enter starts the job', async (t) => {
    const { page } = await openTab(t, browser, stage.url('shortcut'))
    const canvas = new CanvasPage(page)
    await canvas.form.getByRole('radio', { name: 'Write' }).check()
    await canvas.form.getByLabel('Prompt').fill('Two\nlines')
    await canvas.form.getByLabel('Prompt').press('Control+Enter')
    const writing = await stage.model.asked()
    writing.write('Here')
    writing.finish()
    await says(canvas.you.job, 'Complete')
  })
}

function hold (...callbacks: Array<() => void>): () => void {
  return () => { for (const callback of callbacks) callback() }
}

const HOSTILE = [
  '# <img src=https://evil.example/a onerror="hacked=1">',
  '<script>hacked = 1</script>',
  '<iframe src="javascript:parent.hacked=1"></iframe>',
  '[one](javascript:hacked=1) [two](JaVaScRiPt&colon;hacked=1) [three](data:text/html;base64,PHNjcmlwdD4=) <javascript:hacked=1>',
  '![image](https://evil.example/b.png) ![image][ref]',
  '[ref]: https://evil.example/c.png "x" onerror="hacked=1',
  '```js"><img src=x onerror=hacked=1>\n</code></pre><script>hacked=1</script>\n```',
  '| <svg onload=hacked=1> | b |\n|---|---|\n| `</td><script>hacked=1</script>` | d |',
  '[a link](https://example.com/"onmouseover="hacked=1)',
  'The end'
].join('\n\n')

/** Elements and attributes in the text that could execute or load something. */
const DANGERS = `[...document.querySelectorAll('.text *')].filter((element) =>
  /^(script|iframe|img|svg|object|embed|style|link|form|base|meta)$/i.test(element.localName) ||
  [...element.attributes].some(({ name, value }) => name.startsWith('on') || /^\\s*(javascript|data|vbscript):/i.test(value))
).map(({ outerHTML }) => outerHTML)`

/** Measures in the page, because the test's round trips to it take longer than the measured time. */
const FIRST_WORD = `window.firstWord = new Promise((resolve) => {
  addEventListener('submit', () => {
    const since = performance.now()
    const text = document.querySelector('.text')
    new MutationObserver((_changes, observer) => {
      if (text.querySelector('h3') === null) return
      observer.disconnect()
      resolve(performance.now() - since)
    }).observe(text, { childList: true, subtree: true })
  }, { once: true, capture: true })
}), 0`

const GROWTH = `(() => {
  const text = document.querySelector('.text')
  const lengths = []
  const observer = new MutationObserver(() => { lengths.push([performance.now(), text.textContent.length]) })
  observer.observe(text, { childList: true, subtree: true, characterData: true })
  window.growth = () => {
    observer.disconnect()
    const steps = lengths.slice(1).map(([, length], index) => length - lengths[index][1])
    return { times: steps.filter((step) => step > 0).length, largest: Math.max(...steps), ms: lengths.at(-1)[0] - lengths[0][0] }
  }
})()`

/** Resolves when the highlight is gone, with the highlighted text and its duration. */
const WATCH_HIGHLIGHTS = `window.highlighted = new Promise((resolve) => {
  let shown
  const look = () => {
    const now = performance.now()
    const recovered = CSS.highlights.get('recovered')
    if (recovered.size > 0) shown ??= { text: [...recovered].map(String).join(''), since: now }
    else if (shown !== undefined) return resolve({ text: shown.text, ms: now - shown.since })
    requestAnimationFrame(look)
  }
  look()
}), 0`
