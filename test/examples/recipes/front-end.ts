import type { Locator, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { launch, noBrowser, openTab } from '../../browser/support/browser.js'
import { says } from '../../browser/support/canvas-page.js'
import { until } from '../../support/until.js'
import { whyNot, type Recipe } from './support.js'

/** A recipe's page, by the elements that its users see. */
export class RecipePage {
  readonly connection: Locator
  readonly prompt: Locator
  readonly start: Locator
  readonly stop: Locator
  readonly spinner: Locator
  readonly text: Locator
  readonly failure: Locator

  constructor (page: Page) {
    this.connection = page.getByRole('status')
    this.prompt = page.getByLabel('Prompt')
    this.start = page.getByRole('button', { name: 'Start' })
    this.stop = page.getByRole('button', { name: 'Stop' })
    this.spinner = page.getByRole('progressbar')
    this.text = page.getByRole('region', { name: 'Text' })
    this.failure = page.getByRole('main').getByRole('alert')
  }

  async ask (prompt: string): Promise<void> {
    await this.prompt.fill(prompt)
    await this.start.click()
  }

  /** Resolves when a job's text has grown twice. */
  async grows (): Promise<void> {
    const lengths = new Set<number>()
    await until(async () => lengths.add((await this.text.textContent())!.length).size > 2)
  }
}

/** A recipe with a page, which is used as its README describes. */
export interface FrontEnd {
  readonly name: string
  /** Starts the processes that the README describes. The page is at `url`, and `server` runs the jobs. */
  readonly open: (t: Test) => Promise<{ readonly url: string, readonly server: Recipe }>
}

export const SHORT = 'a job that comes to its end'
/** A prompt whose job takes far longer than a test: the server sends one word every 100 ms. */
const LONG = 'and so on '.repeat(900)

export function testFrontEnd ({ name, open }: FrontEnd): void {
  t.test(`the recipe ${name}`, { skip: whyNot() || noBrowser }, async (t) => {
    const { url, server } = await open(t)
    const browser = await launch(t)
    const { page, context } = await openTab(t, browser, url)
    const first = new RecipePage(page)
    await says(first.connection, 'Connected')
    t.equal((await fetch(`${server.url}/api/ws/stats`)).status, 404, 'the stats route would show the session ids')

    await t.test('a job runs to its end, and a late tab has its text', async (t) => {
      await first.ask(SHORT)
      await says(first.text, SHORT)
      await first.spinner.waitFor({ state: 'detached' })
      t.equal((await first.failure.allTextContents()).join(''), '')

      const late = await context.newPage()
      await late.goto(page.url())
      await says(new RecipePage(late).text, SHORT)
      t.equal(await new RecipePage(late).spinner.count(), 0)
      await late.close()
    })

    await t.test('a job that is stopped in one tab has stopped in the other', async (t) => {
      const other = await context.newPage()
      await other.goto(page.url())
      const second = new RecipePage(other)
      await first.ask(LONG)
      await Promise.all([first.grows(), second.grows()])
      t.equal(await first.spinner.count(), 1)
      await second.stop.click()
      for (const tab of [first, second]) {
        await says(tab.failure, /stopped|cancel/i)
        await tab.spinner.waitFor({ state: 'detached' })
      }
      const [text, seen] = [await first.text.textContent(), await second.text.textContent()]
      t.equal(text, seen)
      await other.close()
    })

    for (const [signal, failure] of [['SIGKILL', 'the server has lost this job'], ['SIGTERM', 'the server was stopped']] as const) {
      await t.test(`the server ends in the middle of a job, by ${signal}`, async (t) => {
        await first.ask(LONG)
        await first.grows()
        await server.stop(signal)
        await says(first.connection, 'Connection lost, reconnecting')
        await first.spinner.waitFor({ state: 'detached' })
        await server.start()
        await says(first.connection, 'Connected')
        await says(first.failure, failure)
        t.equal(await first.spinner.count(), 0)

        await first.ask(SHORT)
        await says(first.text, SHORT)
      })
    }

    t.equal((await server.stop('SIGTERM')).code, 0, 'the server ends by itself, with a page that is connected')
  })
}
