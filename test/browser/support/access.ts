import axe, { type AxeResults } from 'axe-core'
import type { Page } from 'playwright-core'

/** Returns the page's current violations of WCAG 2.2 AA that a program can detect, including contrast, one per line. */
export async function breaches (page: Page): Promise<string[]> {
  // Not a script of the page, because its policy forbids that.
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate<AxeResults>(`axe.run({
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], resultTypes: ['violations']
  })`)
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary = '' }) => `${id}: ${html} ${failureSummary.replaceAll(/\s+/g, ' ')}`))
}

/** A focused element, and whether its focus is visible. */
interface Stop {
  readonly html: string
  readonly seen: boolean
}

/** Returns every element that the Tab key reaches, from the top of the page to its end. */
export async function tabStops (page: Page): Promise<Stop[]> {
  // Tab continues from the last click.
  await page.evaluate('scrollTo(0, 0)')
  await page.mouse.click(1, 1)
  const stops: Stop[] = []
  for (;;) {
    await page.keyboard.press('Tab')
    const stop = await page.evaluate<Stop & { index: number }>(`(() => {
      const { activeElement: at } = document
      // A radio button is not seen itself: what stands beside it is
      const outlined = [at, at.nextElementSibling ?? at].some((element) => {
        const { outlineStyle, outlineWidth } = getComputedStyle(element)
        return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2
      })
      const { width, height } = at.getBoundingClientRect()
      return { html: at.cloneNode().outerHTML, seen: outlined && width > 0 && height > 0, index: at === document.body ? -1 : 0 }
    })()`)
    if (stop.index < 0 || stops.length > 100) return stops
    stops.push({ html: stop.html, seen: stop.seen })
  }
}
