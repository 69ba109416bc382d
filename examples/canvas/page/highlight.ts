import { renderBlocks } from './markdown.js'

/** Everything on the page that was just recovered. Some browsers can't highlight text without changing the page's elements. */
const recovered = typeof Highlight === 'function' ? new Highlight() : undefined
if (recovered !== undefined) CSS.highlights.set('recovered', recovered)

/** Highlights an element's text between two offsets, in UTF-16 units. Returns a function that removes the highlight. */
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

/** Returns the length of a text when it is rendered, in UTF-16 units. */
export function renderedLength (text: string): number {
  return new DOMParser().parseFromString(renderBlocks(text).join(''), 'text/html').body.textContent.length
}
