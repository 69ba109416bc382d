import { chromium as playwright, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { chromium } from '../../support/real-parts.js'

/** Timeout for everything that is expected to happen. Far longer than needed, because the machine may be busy. */
const PATIENCE_MS = 120_000

const executablePath = chromium.find()

/** The value for a test's `skip`: the reason why it can't run here, or false. */
export const noBrowser: string | false = executablePath === undefined &&
  `needs ${chromium.name}: "npm run setup" as root, or apt-get install ${chromium.debianPackage}`

/** Starts a real browser. Closes it when the test ends. */
export async function launch (t: Test): Promise<Browser> {
  const browser = await playwright.launch({
    executablePath: executablePath!,
    // Chromium refuses its sandbox to root, the user of tests in containers.
    chromiumSandbox: process.getuid?.() !== 0,
    args: ['--disable-dev-shm-usage']
  })
  t.teardown(() => browser.close())
  return browser
}

export interface Tab {
  page: Page
  context: BrowserContext
}

/** Opens an isolated tab until the test ends. An error in its page fails the test. */
export async function openTab (t: Test, browser: Browser, url: string, options: BrowserContextOptions & { clock?: true } = {}): Promise<Tab> {
  const context = await browser.newContext(options)
  context.setDefaultTimeout(PATIENCE_MS)
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.on('pageerror', (error) => { t.fail(`an error in the page: ${error.stack ?? error.message}`) })
  // The page's clock runs until the test stops it.
  if (options.clock === true) await page.clock.install()
  await page.goto(url)
  return { page, context }
}
