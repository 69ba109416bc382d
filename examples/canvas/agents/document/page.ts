import ts from 'typescript'
import { commentOf, overviewOf, render, summaryOf } from './comment.js'
import { exportsOf, type Export, type Reexport } from './exports.js'
import { anchor, bullet, fence, paragraphs, title } from './markdown.js'
import { openProgram, type Source } from './program.js'
import { sectionOf } from './section.js'
import { written } from './text.js'

/**
 * Yields the documentation of a file's exports in pieces that form one Markdown document. Throws a `SyntaxError` if the file
 * can't be parsed.
 */
export function * documentFile (source: Source): Generator<string> {
  yield title(source.path)
  yield * documentExports(source)
}

/** Yields the same without the title, which can be written without the compiler. */
export function * documentExports (source: Source): Generator<string> {
  const program = openProgram(source)
  const { documented, passedOn } = exportsOf(program)
  const overview = overviewOf(program.file)

  const introduction = paragraphs(overview === undefined ? '' : render(overview), contents(documented))
  if (introduction !== '') yield `\n${introduction}\n`
  for (const entry of documented) {
    for (const piece of sectionOf(entry, program.checker)) yield `\n${piece}\n`
  }
  for (const addition of augmentations(program.file)) yield `\n${addition}\n`
  if (passedOn.length > 0) yield `\n${paragraphs('## Re-exported from other modules', list(passedOn))}\n`
  if (documented.length + passedOn.length === 0) yield '\nThis file exports nothing.\n'
}

function contents (entries: readonly Export[]): string {
  if (entries.length < 2) return ''
  const taken = new Map<string, number>()
  return entries.map(({ name, declarations }) => {
    const slug = anchor(name)
    const count = taken.get(slug) ?? 0
    taken.set(slug, count + 1)
    const summary = declarations.map((node) => summaryOf(commentOf(node))).find((text) => text !== '')
    return bullet(`[\`${name}\`](#${count === 0 ? slug : `${slug}-${count}`})${summary === undefined ? '' : `: ${summary}`}`)
  }).join('\n')
}

/** Documents what the file adds to another module's types, such as with `declare module 'fastify'`. Users get it without an import. */
function augmentations ({ statements }: ts.SourceFile): string[] {
  return statements
    .filter((statement) => ts.isModuleDeclaration(statement))
    .filter(({ name }) => ts.isStringLiteral(name))
    .map((module) => paragraphs(`## Added to \`${module.name.text}\``, fence(written(module))))
}

function list (entries: readonly Reexport[]): string {
  const modules = new Map<string, string[]>()
  for (const { from, name } of entries) modules.set(from, [...modules.get(from) ?? [], name === '*' ? 'everything' : `\`${name}\``])
  return [...modules].map(([from, names]) => bullet(`\`${from}\`: ${names.join(', ')}`)).join('\n')
}
