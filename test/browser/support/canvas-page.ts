import type { Locator, Page } from 'playwright-core'

/** One of the page's two panels, located by roles and names as for a screen reader. */
export interface Follower {
  readonly panel: Locator
  readonly connection: Locator
  readonly job: Locator
  readonly text: Locator
  /** The timeline of the connection and the job. */
  readonly log: Locator
  readonly cut: Locator
  /** The error text. Empty if there is none. */
  readonly alert: Locator
}

/** The page as its users see it. */
export class CanvasPage {
  readonly page: Page
  readonly you: Follower
  readonly second: Follower
  readonly form: Locator

  constructor (page: Page) {
    this.page = page
    this.form = page.getByRole('form', { name: 'A job' })
    this.you = follower(page, 'You', 'Your')
    this.second = follower(page, 'A second user', 'The second user\'s')
  }

  async ask (prompt: string): Promise<void> {
    await this.form.getByRole('radio', { name: 'Write' }).check()
    await this.form.getByLabel('Prompt').fill(prompt)
    await this.start()
  }

  /** One of the steps to try. */
  step (title: string): Locator {
    return this.page.getByRole('navigation', { name: 'Things to try' }).getByRole('listitem').filter({ hasText: title })
  }

  async start (): Promise<void> {
    await this.form.getByRole('button', { name: 'Start' }).click()
  }

  async stop (): Promise<void> {
    await this.form.getByRole('button', { name: 'Stop' }).click()
  }
}

function follower (page: Page, name: string, whose: string): Follower {
  const panel = page.getByRole('region', { name, exact: true })
  return {
    panel,
    connection: panel.getByRole('status', { name: `${whose} connection` }),
    job: panel.getByRole('status', { name: `${whose} job` }),
    text: panel.getByRole('region', { name: `${whose} text` }),
    log: panel.getByRole('log', { name: `${whose} timeline` }),
    cut: panel.getByRole('button', { name: /^Cut|^Back in/ }),
    alert: panel.getByRole('alert')
  }
}

/** Returns the element's text with whitespace collapsed, because the source's whitespace is not what is rendered. */
export async function textOf (locator: Locator): Promise<string> {
  return (await locator.textContent() ?? '').trim()
}

/** Resolves when the element's text contains this. */
export async function says (locator: Locator, text: string | RegExp): Promise<void> {
  await locator.filter({ hasText: text }).waitFor()
}
