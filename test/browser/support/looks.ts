import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import type { Test } from 'tap'
import { breaches, tabStops } from './access.js'
import { openTab } from './browser.js'
import { CanvasPage, says } from './canvas-page.js'
import type { Stage } from './stage.js'

/** Git ignores it. Look at them after each change of the page. */
const SCREENSHOTS = join(import.meta.dirname, '../screenshots')

/** Whether nothing sticks out, neither of the page nor of one of its cards. */
const FITS = '[document.documentElement, ...document.querySelectorAll(".card")].every(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)'

/** Whether every element moves with the page. One that stays where it is covers others. */
const UNCOVERED = '[...document.querySelectorAll("*")].every((element) => !["sticky", "fixed"].includes(getComputedStyle(element).position))'

/** How many places the focus must come by: of the radio buttons one. */
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
 * Holds the page at each look, and takes its pictures. Not a test file of its own: the two would build the page at the same
 * time, into the same folder.
 */
export function testLooks (t: Test, stage: Stage, browser: Browser): void {
  mkdirSync(SCREENSHOTS, { recursive: true })
  for (const { name, viewport, colorScheme, paper } of looks) {
    t.test(`it fits and is seen: ${name}`, async (t) => {
      const { page } = await openTab(t, browser, stage.url(`look_${name}`), { viewport, colorScheme, reducedMotion: 'reduce' })
      const canvas = new CanvasPage(page)
      await says(canvas.you.connection, /^Connected/)
      t.same(await breaches(page), [], 'before there is a job everyone can use it')
      t.equal(await page.evaluate(UNCOVERED), true, 'nothing stays in front of the rest')
      if (viewport.width === PHONE.width) {
        for (const [what, locator] of [['Start', canvas.form.getByRole('button', { name: 'Start' })], ['progress', canvas.you.job]] as const) {
          const { y = 0, height = 0 } = await locator.boundingBox() ?? {}
          t.ok(y > 0 && y + height <= PHONE.height, `${what} is seen without scrolling: ${y + height} px`)
        }
      }
      await canvas.start()
      await says(canvas.you.job, 'Complete')
      await says(canvas.second.job, 'Complete')
      await says(canvas.you.panel.getByText('Round trip'), /ms$/)
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-complete.png`), fullPage: true })
      t.equal(await page.evaluate(FITS), true, 'a job that is complete fits')
      t.same(await breaches(page), [], 'and everyone can use it')
      const stops = await tabStops(page)
      t.same(stops.filter(({ seen }) => !seen), [], 'where the focus is can be seen')
      t.equal(stops.length, await page.evaluate(FOCUSABLE), 'and it comes to everything that can be used')

      await canvas.ask('Write a haiku about a connection that comes back')
      const writing = await stage.model.asked()
      writing.write('A line drops, and yet\n')
      await says(canvas.you.text, 'A line drops, and yet')
      await canvas.you.cut.click()
      await says(canvas.you.connection, /^Waiting/)
      writing.write('what was said while it was gone\n')
      await says(canvas.second.text, 'what was said while it was gone')
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-cut.png`), fullPage: true })

      t.equal(await page.evaluate('getComputedStyle(document.body).backgroundColor'), paper, 'its colours')
      t.equal(await page.evaluate(FITS), true, 'a connection that is cut fits')
      t.same(await breaches(page), [], 'and everyone can use it')
      writing.finish()
      await says(canvas.second.job, 'Complete')
    })
  }
}
