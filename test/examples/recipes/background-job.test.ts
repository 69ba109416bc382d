import t from 'tap'
import { launch, noBrowser, openTab } from '../../browser/support/browser.js'
import { connect } from '../../support/ws-client.js'
import { jobMessages } from '../support/job-messages.js'
import { post, startRecipe, whyNot } from './support.js'

const TEXT = 'This is a report about the sea. It is written in the background, while nobody has to wait for it.'

t.test('the answer comes at once, and a client that comes after the end has the whole text', { skip: whyNot() }, async (t) => {
  const { url, ws } = await startRecipe(t, 'background-job', { WORDS_PER_SECOND: '1000' })
  const { status, body } = await post(`${url}/reports`, { topic: 'the sea' })
  t.match({ status, body }, { status: 202, body: { id: /^[\da-f-]{36}$/, page: /^\/reports\// } })
  const target = `${ws}?sessionId=${String(body.id)}`
  await jobMessages(await connect(t, target))
  const late = await jobMessages(await connect(t, target))
  t.match(late.at(-1), { type: 'ai_complete', replayed: 'snapshot' })
  t.equal((await post(`${url}/reports`, {})).status, 400)
  for (const path of ['/api/ws/stats', '/ai-canvas-ws/index.js', '/ai-canvas-ws/manager/manager.js', '/server.ts', '/ai-canvas-ws/client/../index.js']) {
    t.equal((await fetch(url + path)).status, 404, `${path} is not served`)
  }
})

t.test('a page that is opened in the middle, in the end, and over a restart', { skip: whyNot() || noBrowser }, async (t) => {
  const recipe = await startRecipe(t, 'background-job', { WORDS_PER_SECOND: '100' })
  const browser = await launch(t)
  const report = async (): Promise<string> => recipe.url + String((await post(`${recipe.url}/reports`, { topic: 'the sea' })).body.page)
  const done = await report()
  const { page } = await openTab(t, browser, done)
  await page.getByText(TEXT).waitFor()
  await page.getByText('complete', { exact: true }).waitFor()
  await page.reload()
  await page.getByText('complete', { exact: true }).waitFor()
  await page.goto(`${recipe.url}/reports/none`)
  await page.getByText('there is no such report').waitFor()
  await recipe.stop()

  await recipe.start({ WORDS_PER_SECOND: '2' })
  await page.goto(await report())
  await page.getByText('This is').waitFor()
  await page.getByRole('button', { name: 'Stop' }).click()
  await page.getByText('the job was cancelled').waitFor()
  t.equal(await page.getByRole('button', { name: 'Stop' }).isVisible(), false)

  await page.goto(await report())
  await page.getByText('This is').waitFor()
  await recipe.stop()
  await page.getByText('reconnecting').waitFor()
  await recipe.start()
  await page.getByText(/no longer|lost/).waitFor()
  t.equal(await page.getByRole('button', { name: 'Stop' }).isVisible(), false)
})
