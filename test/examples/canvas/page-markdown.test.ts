import fc from 'fast-check'
import t from 'tap'
import { renderBlocks } from '../../../examples/canvas/page/markdown.js'

/** A tag that can neither run nor load anything, as markdown-it writes it. */
const TAG = '(?:a|blockquote|br|code|em|h[3-6]|hr|li|ol|p|pre|s|span|strong|table|tbody|td|th|thead|tr|ul)'
const ATTRIBUTE = '(?:href="https?://[^"<>]*"|title="[^"<>]*"|target="_blank"|rel="noreferrer"|class="language-[^"<>]*"|start="\\d+"|style="text-align:\\w+")'
const HARMLESS = new RegExp(`</?${TAG}(?: ${ATTRIBUTE})*>`, 'gi')

/** Returns what a rendered text contains besides harmless tags and text. */
function danger (markdown: string): string | undefined {
  const rest = renderBlocks(markdown).join('').replace(HARMLESS, '')
  return /<.*/s.exec(rest)?.[0]
}

const PIECES = [
  '<', '>', '"', '\'', '&', '&#x3C;', '&lt;', '`', '```', '\n', '\n\n', ' ', '[', ']', '(', ')', '!', '![', '](', '|', '---', '# ', '- ', '1. ', '> ', '*', '**', '~~', '\\', ':', '//',
  'javascript:', 'JaVaScRiPt:', 'java\nscript:', 'javascript&colon;', 'data:text/html,', 'vbscript:', 'file:///', 'https://example.com/', '//example.com', '#a', '/a', 'x',
  '<script>', '</script>', '<img src=x onerror=alert(1)>', '<svg/onload=alert(1)>', '<a href="javascript:alert(1)">', ' onclick=alert(1) ', '<!--', '-->', '<![CDATA[', '<style>', '[x]: javascript:alert(1)', '\u0000', '\u2028', '👋'
]

t.test('no text becomes an element or an attribute that could run or load something', (t) => {
  fc.assert(fc.property(fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }), (pieces) => {
    const found = danger(pieces.join(''))
    if (found !== undefined) throw new Error(found)
  }), { numRuns: 2_000 })
  t.end()
})

t.test('nor does the beginning of one, which is what is seen while it grows', (t) => {
  const text = '# <b>T</b>\n\n[a](https://example.com/"onmouseover=alert(1)) ![b](https://example.com/b.png)\n\n```js"><img src=x onerror=alert(1)>\n</pre><script>alert(1)</script>\n```\n\n[c](javascript:alert(1))'
  for (let end = 0; end <= text.length; end++) t.equal(danger(text.slice(0, end)), undefined, text.slice(0, end))
  t.end()
})

t.test('it is rendered as it should be', (t) => {
  t.same(renderBlocks('# A `b`\n\nSome *text*\n\n- one\n- two'), [
    '<h3>A <code>b</code></h3>\n', '<p>Some <em>text</em></p>\n', '<ul>\n<li>one</li>\n<li>two</li>\n</ul>\n'
  ])
  t.same(renderBlocks('[out](https://example.com) and [in](#in)'), [
    '<p><a href="https://example.com" target="_blank" rel="noreferrer">out</a> and <span>in</span></p>\n'
  ])
  t.same(renderBlocks('```ts\nconst a = 1'), ['<pre><code class="language-ts">const a = 1</code></pre>\n'], 'a block that has not ended')
  t.same(renderBlocks(''), [])
  t.end()
})

t.test('a text that grows changes its last block alone', (t) => {
  const text = '# Title\n\nFirst.\n\n- one\n- two\n\nLast one'
  const whole = renderBlocks(text)
  t.same(renderBlocks(`${text} and more`).slice(0, -1), whole.slice(0, -1))
  t.same(renderBlocks(`${text}\n\nAnother.`).slice(0, whole.length), whole)
  t.end()
})
