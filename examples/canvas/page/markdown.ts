import MarkdownIt from 'markdown-it'

/**
 * Renders Markdown without HTML: tags are shown as text. markdown-it leaves links with `javascript:` and other executable
 * schemes as text. Images become links, because loading them would reveal the reader to others.
 */
const md = new MarkdownIt({ html: false, linkify: false }).disable('image')

// The panel has headings above these.
for (const rule of ['heading_open', 'heading_close']) {
  md.renderer.rules[rule] = (tokens, index, options, _env, self) => {
    const token = tokens[index]
    if (token === undefined) return ''
    token.tag = `h${Math.min(6, Number(token.tag.slice(1)) + 2)}`
    return self.renderToken(tokens, index, options)
  }
}

// Links open other sites. Links within the document have no target, because the page contains two copies of it.
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

/** Returns the HTML of each block of a text. When a text grows, only its last blocks change. */
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
