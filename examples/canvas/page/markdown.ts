import MarkdownIt from 'markdown-it'

/**
 * Markdown without HTML: what looks like a tag is text. Links with `javascript:` and other schemes that run something are
 * left as text by markdown-it itself. Images are links, because loading them would tell others of the reader.
 */
const md = new MarkdownIt({ html: false, linkify: false }).disable('image')

// The panel has headings above these
for (const rule of ['heading_open', 'heading_close']) {
  md.renderer.rules[rule] = (tokens, index, options, _env, self) => {
    const token = tokens[index]
    if (token === undefined) return ''
    token.tag = `h${Math.min(6, Number(token.tag.slice(1)) + 2)}`
    return self.renderToken(tokens, index, options)
  }
}

// A link leads to another site. Those within the document have no target here, where two copies of it are on one page
md.renderer.rules.link_open = (tokens, index, options, _env, self) => {
  const token = tokens[index]
  const isExternal = /^https?:\/\//i.test(String(token?.attrGet('href')))
  if (token === undefined || !isExternal) return '<span>'
  token.attrSet('target', '_blank')
  token.attrSet('rel', 'noreferrer')
  return self.renderToken(tokens, index, options)
}
md.renderer.rules.link_close = (tokens, index) => {
  const opening = tokens.slice(0, index).findLast(({ type }) => type === 'link_open')
  return /^https?:\/\//i.test(String(opening?.attrGet('href'))) ? '</a>' : '</span>'
}

/** The HTML of each block of a text. A text that grows changes only its last blocks. */
export function renderBlocks (text: string): string[] {
  const env = {}
  const blocks: string[] = []
  const tokens = md.parse(text, env)
  let depth = 0
  let start = 0
  for (const [index, { nesting }] of tokens.entries()) {
    depth += nesting
    if (depth > 0) continue
    blocks.push(md.renderer.render(tokens.slice(start, index + 1), md.options, env))
    start = index + 1
  }
  return blocks
}
