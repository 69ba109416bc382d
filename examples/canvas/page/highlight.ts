import { renderBlocks } from './markdown.js'

/** Everything on the page that was recovered just now. Not every browser can highlight text without changing the page's elements. */
const recovered = typeof Highlight === 'function' ? new Highlight() : undefined
if (recovered !== undefined) CSS.highlights.set('recovered', recovered)

/** Highlights the text of an element between two places, in UTF-16 units, until the function that it returns is called. */
export function highlight (element: Element, from: number, to: number): () => void {
  const range = document.createRange()
  range.selectNodeContents(element)
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT)
  let at = 0
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const length = node.nodeValue?.length ?? 0
    if (from >= at && from <= at + length) range.setStart(node, from - at)
    if (to >= at && to <= at + length) {
      range.setEnd(node, to - at)
      break
    }
    at += length
  }
  recovered?.add(range)
  return () => { recovered?.delete(range) }
}

/** How long a text is when it is rendered, in UTF-16 units. */
export function renderedLength (text: string): number {
  return new DOMParser().parseFromString(renderBlocks(text).join(''), 'text/html').body.textContent.length
}
