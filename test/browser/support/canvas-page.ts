import type { Locator, Page } from 'playwright-core'

/** One of the page's two followers, found as a screen reader finds it. */
export interface Follower {
  readonly panel: Locator
  readonly connection: Locator
  readonly job: Locator
  readonly text: Locator
  readonly log: Locator
  readonly cut: Locator
  /** What went wrong. Empty while nothing did. */
  readonly alert: Locator
}

/** The page, by what people see of it. */
export class CanvasPage {
  readonly page: Page
  readonly you: Follower
  readonly guest: Follower
  readonly form: Locator

  constructor (page: Page) {
    this.page = page
    this.form = page.getByRole('form', { name: 'A job' })
    this.you = follower(page, 'You', 'Your')
    this.guest = follower(page, 'A guest', 'The guest\'s')
  }

  async ask (prompt: string): Promise<void> {
    await this.form.getByRole('radio', { name: 'generate' }).check()
    await this.form.getByLabel('Target file').fill('')
    await this.form.getByLabel('Prompt').fill(prompt)
    await this.start()
  }

  async start (): Promise<void> {
    await this.form.getByRole('button', { name: 'Start' }).click()
  }

  async stop (): Promise<void> {
    await this.form.getByRole('button', { name: 'Stop' }).click()
  }
}

function follower (page: Page, name: string, whose: string): Follower {
  const panel = page.getByRole('region', { name: new RegExp(`^${name} `) })
  return {
    panel,
    connection: panel.getByRole('status', { name: `${whose} connection` }),
    job: panel.getByRole('status', { name: `${whose} job` }),
    text: panel.getByRole('region', { name: `${whose} text` }),
    log: panel.getByRole('log', { name: `${whose} connection log` }),
    cut: panel.getByRole('button', { name: /^Cut|^Back in/ }),
    alert: panel.getByRole('alert')
  }
}

/** Resolves when the element's text holds this. */
export async function says (locator: Locator, text: string | RegExp): Promise<void> {
  await locator.filter({ hasText: text }).waitFor()
}
