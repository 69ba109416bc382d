import t from 'tap'
import { launch, noBrowser, openTab } from './support/browser.js'
import { setStage } from './support/stage.js'

t.setTimeout(300_000)

t.test('probe', { skip: noBrowser }, async (t) => {
  const stage = await setStage(t)
  const browser = await launch(t)
  const { page } = await openTab(t, browser, stage.url('probe'))
  page.on('console', (m) => { t.comment(m.text()) })
  await page.getByRole('radio', { name: 'document' }).waitFor({ state: 'attached' })
  await page.getByRole('button', { name: 'Start' }).click()
  await page.getByText('Complete').first().waitFor()
  await page.screenshot({ path: 'test/browser/screenshots/light.png', fullPage: true })
})
