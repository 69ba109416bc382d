import { readFileSync } from 'node:fs'

/** A fenced block of a page. */
export interface Block {
  /** The nearest heading above the block, without its `#` marks and backticks. */
  readonly heading: string
  readonly language: string
  readonly text: string
  /** Line number of the block's first line in the page. */
  readonly line: number
}

/** The rows of a table. The keys of each row are the names of the columns. */
export type Table = ReadonlyArray<Readonly<Record<string, string>>>

/** A Markdown page of the repository. It is parsed only as far as the tests need it. */
export class Page {
  readonly #lines: readonly string[]

  /** @param path relative to the root of the repository */
  constructor (path: string) {
    this.#lines = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8').split('\n')
  }

  get text (): string {
    return this.#lines.join('\n')
  }

  get headings (): string[] {
    return this.#outsideOfBlocks().flatMap((line) => headingOf(line) ?? [])
  }

  blocks (language?: string): Block[] {
    const found: Block[] = []
    let heading = ''
    let open: { language: string, text: string[], line: number } | undefined
    for (const [at, line] of this.#lines.entries()) {
      const fence = /^```(\w*)/.exec(line)
      if (open === undefined) {
        heading = headingOf(line) ?? heading
        if (fence !== null) open = { language: fence[1]!, text: [], line: at + 2 }
      } else if (fence !== null) {
        found.push({ heading, ...open, text: open.text.join('\n') })
        open = undefined
      } else {
        open.text.push(line)
      }
    }
    return language === undefined ? found : found.filter((block) => block.language === language)
  }

  /** Returns the texts of the blocks of one language below a heading. Throws if there is none. */
  below (heading: string, language = 'ts'): string[] {
    const found = this.blocks(language).filter((block) => block.heading === heading).map(({ text }) => text)
    if (found.length === 0) throw new Error(`no ${language} block below "${heading}"`)
    return found
  }

  /** Returns the first table below a heading. Backticks around a whole cell are removed. */
  table (heading: string): Table {
    const lines = this.#outsideOfBlocks()
    const from = lines.findIndex((line) => headingOf(line) === heading)
    const begin = from < 0 ? -1 : lines.findIndex((line, at) => at > from && line.startsWith('|'))
    const next = lines.findIndex((line, at) => at > from && headingOf(line) !== undefined)
    if (begin < 0 || (next >= 0 && next < begin)) throw new Error(`no table below the heading "${heading}"`)
    const end = lines.findIndex((line, at) => at > begin && !line.startsWith('|'))
    const [names, , ...rows] = lines.slice(begin, end < 0 ? undefined : end).map(cellsOf)
    return rows.map((cells) => Object.fromEntries(cells.map((cell, at) => [names![at], cell])) as Record<string, string>)
  }

  /** Returns all lines of the page. Those of fenced blocks are replaced by empty ones, because a comment of a shell is not a heading. */
  #outsideOfBlocks (): string[] {
    let inside = false
    return this.#lines.map((line) => {
      const fence = line.startsWith('```')
      if (fence) inside = !inside
      return fence || inside ? '' : line
    })
  }
}

function headingOf (line: string): string | undefined {
  return /^#+ (.*)$/.exec(line)?.[1]!.replaceAll('`', '')
}

function cellsOf (row: string): string[] {
  return row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim().replaceAll('\\|', '|').replace(/^`([^`]*)`$/, '$1'))
}

/** Returns the names in a cell that contains a list of names. */
export function namesIn (cell = ''): string[] {
  return cell.replaceAll('`', '').split(', ')
}
