import t from 'tap'
import { launch, noBrowser, openTab } from './support/browser.js'
import { CanvasPage, says, textOf } from './support/canvas-page.js'
import { testDefaultRun, testRecovery } from './support/first-minutes.js'
import { layLine } from './support/line.js'
import { testLooks } from './support/looks.js'
import { setStage } from './support/stage.js'

t.setTimeout(1_200_000)

t.test('the page in a real browser', { skip: noBrowser, timeout: 1_200_000 }, async (t) => {
  const stage = await setStage(t)
  const browser = await launch(t)

  t.test('you and a second user start a job and watch it to its end', async (t) => {
    const { page } = await openTab(t, browser, stage.url('watched'))
    const canvas = new CanvasPage(page)
    const { you, second } = canvas
    for (const each of [you, second]) {
      await says(each.connection, /^Connected/)
      await says(each.job, 'No job yet')
    }
    await canvas.ask('Tell me a story')
    const writing = await stage.model.asked()
    for (const each of [you, second]) await says(each.job, 'Working')
    writing.write('Once ')
    for (const each of [you, second]) await says(each.text, 'Once')
    writing.write('upon a time 👋')
    for (const each of [you, second]) await says(each.text, 'Once upon a time 👋')
    await says(you.panel, '19 characters')
    writing.finish()
    for (const each of [you, second]) {
      await says(each.job, 'Complete')
      t.equal(await textOf(each.text), 'Once upon a time 👋')
    }
    await says(you.panel.getByText('Round trip'), /^Round trip [\d.]+ ms$/)
    await says(page.getByRole('region', { name: 'Subscribers' }).getByRole('listitem').filter({ hasText: 'second_' }), /open$/)
  })

  t.test('a file is documented without a language model, using only the keyboard', async (t) => {
    const { page } = await openTab(t, browser, stage.url('keyboard'))
    const canvas = new CanvasPage(page)
    await says(canvas.you.connection, /^Connected/)
    const focused = page.locator(':focus')
    await says(canvas.step('Kill the server'), 'kill -9')
    await page.keyboard.press('Tab')
    for (const name of ['Open it ↗', /^Copy kill -9 \d+$/]) {
      await page.keyboard.press('Tab')
      t.match(await focused.textContent(), name)
    }
    await page.keyboard.press('Tab')
    t.equal(await focused.inputValue(), 'document')
    await page.keyboard.press('Tab')
    t.equal(await focused.getAttribute('name'), 'targetFile')
    await page.keyboard.press('ControlOrMeta+A')
    await page.keyboard.type('lib/util/clock.ts')
    await page.keyboard.press('Enter')
    await says(canvas.you.job, 'Complete')
    await says(canvas.you.text.getByRole('heading', { level: 3 }), 'lib/util/clock.ts')
    await says(canvas.you.text.locator('pre code'), 'interface Clock')
    for (const name of ['Start', 'Stop', 'Cut my connection']) {
      await page.keyboard.press('Tab')
      t.equal(await focused.textContent(), name)
    }
  })

  t.test('a rejected request is shown in the form, and a job\'s error where the job is shown', async (t) => {
    const { page } = await openTab(t, browser, stage.url('refused'))
    const canvas = new CanvasPage(page)
    await says(canvas.you.connection, /^Connected/)
    await canvas.form.getByLabel('File', { exact: true }).fill('../secret.ts')
    await canvas.start()
    await says(canvas.form.getByRole('alert'), 'leaves the project')
    await says(canvas.you.job, 'No job yet')
    await canvas.form.getByLabel('File', { exact: true }).fill('missing.ts')
    await canvas.start()
    await says(canvas.you.alert, 'does not exist')
    await says(canvas.you.job, 'Ended with an error')
    t.equal(await canvas.form.getByRole('alert').textContent(), '', 'the previous message is gone')
  })

  t.test('a tab that opens late shows the text from its beginning, and continues with the others', async (t) => {
    const first = new CanvasPage((await openTab(t, browser, stage.url('late'))).page)
    await first.ask('A long one')
    const writing = await stage.model.asked()
    writing.write('The beginning, ')
    await says(first.you.text, 'The beginning,')

    const late = new CanvasPage((await openTab(t, browser, stage.url('late'))).page)
    await says(late.you.job, 'Working')
    await says(late.you.text, 'The beginning,')
    writing.write('the middle, ')
    writing.write('the end.')
    writing.finish()
    for (const { you } of [first, late]) {
      await says(you.job, 'Complete')
      t.equal(await textOf(you.text), 'The beginning, the middle, the end.')
    }
    const tooLate = new CanvasPage((await openTab(t, browser, stage.url('late'))).page)
    await says(tooLate.you.job, 'Complete')
  })

  t.test('after the network fails in the middle of a job, the recovered text is complete', async (t) => {
    const { page, context } = await openTab(t, browser, stage.url('offline'))
    const canvas = new CanvasPage(page)
    await canvas.ask('Go on')
    const writing = await stage.model.asked()
    writing.write('before, ')
    await says(canvas.you.text, 'before,')

    await context.setOffline(true)
    await says(canvas.you.connection, 'Waiting to reconnect there is no network')
    writing.write('during, ')
    await context.setOffline(false)
    await says(canvas.you.log, /Caught up: 8 characters/)
    await says(canvas.you.connection, /^Connected/)
    writing.write('after.')
    writing.finish()
    await says(canvas.you.job, 'Complete')
    t.equal(await textOf(canvas.you.text), 'before, during, after.')
  })

  t.test('a job that ends while the network is down is shown as ended after the reconnect', async (t) => {
    const { page, context } = await openTab(t, browser, stage.url('ended'))
    const canvas = new CanvasPage(page)
    const other = new CanvasPage((await openTab(t, browser, stage.url('ended'))).page)
    await canvas.ask('Go on')
    const writing = await stage.model.asked()
    writing.write('before, ')
    await says(canvas.you.text, 'before,')
    await context.setOffline(true)
    await says(canvas.you.connection, /^Waiting/)
    writing.write('during.')
    writing.finish()
    await says(other.you.job, 'Complete')
    await says(canvas.you.job, 'Working')
    await context.setOffline(false)
    await says(canvas.you.job, 'Complete')
    t.equal(await textOf(canvas.you.text), 'before, during.')
  })

  t.test('a connection that is cut reconnects by itself, and the other one is not affected', async (t) => {
    const { page } = await openTab(t, browser, stage.url('cut'))
    const canvas = new CanvasPage(page)
    const { you, second } = canvas
    await says(you.connection, /^Connected/)
    await canvas.ask('Go on')
    const writing = await stage.model.asked()
    writing.write('before, ')
    await says(you.text, 'before,')
    await you.cut.click()
    await says(you.connection, 'Waiting to reconnect')
    await says(you.cut, /^Back in \d s$/)
    writing.write('during, ')
    await says(second.text, 'before, during,')
    t.equal(await textOf(you.text), 'before,')
    await says(you.log, /Back after [\d.]+ s/)
    await says(you.log, 'Caught up: 8 characters')
    await says(you.text, 'before, during,')
    t.same(await second.log.getByRole('listitem').count(), 1, 'the second user\'s timeline shows only the start')
    writing.finish()
    for (const each of [you, second]) await says(each.job, 'Complete')
  })

  t.test('stopping a job stops it for everyone, and at the model', async (t) => {
    const { page } = await openTab(t, browser, stage.url('stopped'))
    const canvas = new CanvasPage(page)
    await canvas.ask('Never end')
    const writing = await stage.model.asked()
    writing.write('and on ')
    await says(canvas.second.text, 'and on')
    await canvas.stop()
    await says(canvas.you.alert, /^You stopped this job\.$/)
    await says(canvas.second.alert, /^Another user stopped this job\.$/)
    for (const each of [canvas.you, canvas.second]) {
      await says(each.job, 'Stopped')
      t.equal(await textOf(each.text), 'and on', 'the text so far stays')
    }
    await writing.aborted
    await canvas.start()
    const again = await stage.model.asked()
    again.write('anew')
    again.finish()
    await says(canvas.you.job, 'Complete')
    t.equal(await textOf(canvas.you.text), 'anew')
  })

  t.test('a refused stop is shown where it was requested, and the job continues', async (t) => {
    const { page } = await openTab(t, browser, 'about:blank')
    const canvas = new CanvasPage(page)
    const alert = canvas.form.getByRole('alert')
    // The example lets everyone stop its jobs, so a proxy refuses the requests instead.
    const refusals = ['not_cancellable', 'forbidden', 'unavailable']
    await page.routeWebSocket(/\/ws\?/, (near) => {
      const far = near.connectToServer()
      near.onMessage((data) => {
        const message = JSON.parse(String(data)) as { type: string, sessionId: string, jobId: string }
        const code = message.type === 'cancel' ? refusals.shift() : undefined
        if (code === undefined) far.send(data)
        else near.send(JSON.stringify({ ...message, type: 'error', code, message: 'as the server puts it', timestamp: new Date().toISOString() }))
      })
    })
    await page.goto(stage.url('unstoppable'))
    await says(canvas.you.connection, /^Connected/)
    await canvas.ask('Never end')
    const writing = await stage.model.asked()
    writing.write('and on ')
    await says(canvas.you.text, 'and on')
    for (const why of ['This job can\'t be stopped', 'You may not stop this job', 'could not stop the job just now. Try again.']) {
      await canvas.stop()
      await says(alert, why)
      t.match(await canvas.you.job.textContent(), 'Working')
    }
    writing.write('and on')
    await says(canvas.you.text, 'and on and on')
    await canvas.stop()
    await says(canvas.you.job, 'Stopped')
    t.equal(await alert.textContent(), '', 'the earlier refusal is gone')
    await writing.aborted
  })

  t.test('a stop without a connection says that it waits, and stops the job after the reconnect', async (t) => {
    const { page } = await openTab(t, browser, stage.url('stopped_later'))
    const canvas = new CanvasPage(page)
    await canvas.ask('Never end')
    const writing = await stage.model.asked()
    writing.write('and on ')
    await says(canvas.you.text, 'and on')
    await canvas.you.cut.click()
    await says(canvas.you.connection, /^Waiting/)
    await canvas.stop()
    await says(canvas.form.getByRole('button', { name: 'Stopping…' }), 'Stopping…')
    await says(canvas.you.job, 'Stopped')
    await writing.aborted
    await says(canvas.form.getByRole('button', { name: 'Stop' }), /^Stop$/)
  })

  t.test('a page that slept through a job shows its end after waking up', async (t) => {
    const line = await layLine(t, stage.port())
    const { page } = await openTab(t, browser, stage.url('asleep', line.port), { clock: true })
    const canvas = new CanvasPage(page)
    const other = new CanvasPage((await openTab(t, browser, stage.url('asleep'))).page)
    await canvas.ask('Go on')
    const writing = await stage.model.asked()
    writing.write('before, ')
    await says(canvas.you.text, 'before,')

    await page.clock.pauseAt(Date.now() + 60_000)
    line.die()
    writing.write('during.')
    writing.finish()
    await says(other.you.job, 'Complete')
    await says(canvas.you.job, 'Working')
    await page.clock.fastForward('08:00:00')
    await page.clock.resume()
    await says(canvas.you.job, 'Complete')
    t.equal(await textOf(canvas.you.text), 'before, during.')
    await says(canvas.you.log, 'Cut off: the server stopped answering')
  })

  t.test('after a server crash and restart on the same port, no job seems to run and the next one starts', async (t) => {
    const { page } = await openTab(t, browser, stage.url('restarted'))
    const canvas = new CanvasPage(page)
    await canvas.ask('Go on')
    const lost = await stage.model.asked()
    lost.write('before, ')
    await says(canvas.you.text, 'before,')
    await stage.stop('SIGKILL')
    await says(canvas.you.connection, 'Waiting to reconnect')
    await stage.start()
    for (const each of [canvas.you, canvas.second]) {
      await says(each.connection, /^Connected/)
      await says(each.alert, /^The server restarted and lost this job\. Start it again\.$/)
      await says(each.job, 'Lost')
      t.equal(await each.log.getByText(/restart/).count(), 1, 'the restart is reported once')
    }
    await canvas.start()
    const writing = await stage.model.asked()
    writing.write('anew')
    writing.finish()
    for (const each of [canvas.you, canvas.second]) {
      await says(each.job, 'Complete')
      t.equal(await textOf(each.text), 'anew')
    }
  })

  t.test('a server that is stopped announces it before it exits', async (t) => {
    const { page } = await openTab(t, browser, stage.url('closing'))
    const canvas = new CanvasPage(page)
    await canvas.ask('Go on')
    const writing = await stage.model.asked()
    writing.write('before, ')
    await says(canvas.you.text, 'before,')
    await stage.stop('SIGTERM')
    await says(canvas.you.alert, 'The server was stopped in the middle of this job. Start it again.')
    await says(canvas.you.connection, /^Waiting to reconnect the server is restarting/)
    await stage.start()
    await says(canvas.you.connection, /^Connected/)
    await says(canvas.you.log, /Back after/)
    await says(canvas.you.alert, 'The server was stopped in the middle of this job. Start it again.')
    t.equal(await canvas.you.log.getByText(/restart/).count(), 1, 'the restart is reported once')
  })

  testRecovery(t, stage, browser)
  testLooks(t, stage, browser)
  testDefaultRun(t, browser)
})
