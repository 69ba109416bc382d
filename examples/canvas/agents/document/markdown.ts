/** Returns the first line of a file's documentation. */
export function title (path: string): string {
  return `# \`${path}\`\n`
}

/** Joins texts by an empty line. Empty texts leave no gap. */
export function paragraphs (...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('\n\n')
}

/** Returns a code block. Its fence is longer than any in the code. */
export function fence (code: string, language = 'ts'): string {
  const longest = Math.max(2, ...[...code.matchAll(/`{3,}/g)].map(([run]) => run.length))
  const mark = '`'.repeat(longest + 1)
  return `${mark}${language}\n${code.trimEnd()}\n${mark}`
}

/** Returns a list item. Further lines stay inside it. */
export function bullet (text: string): string {
  return `- ${text.replace(/\n(?=[^\n])/g, '\n  ')}`
}

/** Returns the anchor that GitHub and most other renderers give to a heading. */
export function anchor (heading: string): string {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-')
}
