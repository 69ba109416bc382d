import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import type { Test } from 'tap'
import { breaches, tabStops } from './access.js'
import { openTab } from './browser.js'
import { CanvasPage, says } from './canvas-page.js'
import type { Stage } from './stage.js'

/** Git ignores this folder. Look at the pictures after each change of the page. */
const SCREENSHOTS = join(import.meta.dirname, '../screenshots')

/** Whether nothing overflows the page or one of its cards. */
const FITS = '[document.documentElement, ...document.querySelectorAll(".card")].every(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)'

/** Whether every element scrolls with the page. A fixed one would cover others. */
const UNCOVERED = '[...document.querySelectorAll("*")].every((element) => !["sticky", "fixed"].includes(getComputedStyle(element).position))'

/** The number of elements that Tab must reach. A group of radio buttons counts once. */
const FOCUSABLE = 'document.querySelectorAll("a[href], button, input:not([type=radio]), input:checked, textarea, [tabindex]").length'

const DESK = { width: 1360, height: 900 }
const TABLET = { width: 820, height: 1180 }
const PHONE = { width: 375, height: 667 }
const WALL = { width: 1920, height: 1080 }
const looks = [
  { name: 'light', viewport: DESK, colorScheme: 'light', paper: 'rgb(246, 245, 242)' },
  { name: 'dark', viewport: DESK, colorScheme: 'dark', paper: 'rgb(19, 19, 22)' },
  { name: 'wide', viewport: WALL, colorScheme: 'dark', paper: 'rgb(19, 19, 22)' },
  { name: 'tablet', viewport: TABLET, colorScheme: 'light', paper: 'rgb(246, 245, 242)' },
  { name: 'phone-light', viewport: PHONE, colorScheme: 'light', paper: 'rgb(246, 245, 242)' },
  { name: 'phone-dark', viewport: PHONE, colorScheme: 'dark', paper: 'rgb(19, 19, 22)' }
] as const

/**
 * Checks the page in each layout and takes screenshots. This is not a separate test file, because two files would build the page
 * into the same folder at the same time.
 */
export function testLooks (t: Test, stage: Stage, browser: Browser): void {
  mkdirSync(SCREENSHOTS, { recursive: true })
  for (const { name, viewport, colorScheme, paper } of looks) {
    t.test(`the page fits and is accessible: ${name}`, async (t) => {
      const { page } = await openTab(t, browser, stage.url(`look_${name}`), { viewport, colorScheme, reducedMotion: 'reduce' })
      const canvas = new CanvasPage(page)
      await says(canvas.you.connection, /^Connected/)
      t.same(await breaches(page), [], 'before the first job it is accessible')
      t.equal(await page.evaluate(UNCOVERED), true, 'no element is fixed')
      if (viewport.width === PHONE.width) {
        for (const [what, locator] of [['Start', canvas.form.getByRole('button', { name: 'Start' })], ['progress', canvas.you.job]] as const) {
          const { y = 0, height = 0 } = await locator.boundingBox() ?? {}
          t.ok(y > 0 && y + height <= PHONE.height, `${what} is visible without scrolling: ${y + height} px`)
        }
      }
      await canvas.start()
      await says(canvas.you.job, 'Complete')
      await says(canvas.second.job, 'Complete')
      await says(canvas.you.panel.getByText('Round trip'), /ms$/)
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-complete.png`), fullPage: true })
      t.equal(await page.evaluate(FITS), true, 'a completed job fits')
      t.same(await breaches(page), [], 'and is accessible')
      const stops = await tabStops(page)
      t.same(stops.filter(({ seen }) => !seen), [], 'the focus is visible')
      t.equal(stops.length, await page.evaluate(FOCUSABLE), 'and reaches every control')

      await canvas.ask('Write a haiku about a connection that comes back')
      const writing = await stage.model.asked()
      writing.write('A line drops, and yet\n')
      await says(canvas.you.text, 'A line drops, and yet')
      await canvas.you.cut.click()
      await says(canvas.you.connection, /^Waiting/)
      writing.write('what was said while it was gone\n')
      await says(canvas.second.text, 'what was said while it was gone')
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-cut.png`), fullPage: true })

      t.equal(await page.evaluate('getComputedStyle(document.body).backgroundColor'), paper, 'the colours')
      t.equal(await page.evaluate(FITS), true, 'a disconnected panel fits')
      t.same(await breaches(page), [], 'and is accessible')
      writing.finish()
      await says(canvas.second.job, 'Complete')
    })
  }
}
