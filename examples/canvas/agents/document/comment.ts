import ts from 'typescript'
import { bullet, fence, paragraphs } from './markdown.js'

/** A declaration's doc comment. */
export interface Comment {
  text: string
  tags: readonly Tag[]
}

interface Tag {
  name: string
  /** The subject of the tag: a parameter, a type parameter, or the thrown type. */
  subject?: string
  text: string
}

const HIDDEN = ['internal', 'ignore', 'hidden', 'private']
const OVERVIEW = ['module', 'file', 'fileoverview', 'packageDocumentation']

export function commentOf (node: ts.Node): Comment {
  const doc = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).findLast((candidate) => !isDetached(candidate))
  return doc === undefined ? { text: '', tags: [] } : read(doc)
}

/** Returns the file's own comment: a doc comment among its first lines that belongs to no declaration. */
export function overviewOf ({ statements }: ts.SourceFile): Comment | undefined {
  const start = statements.findIndex((statement) => !ts.isImportDeclaration(statement))
  const top = statements.slice(0, start === -1 ? undefined : start + 1)
  const doc = top.flatMap((statement) => statement.getChildren().filter(ts.isJSDoc).filter((candidate) => ts.isImportDeclaration(statement) || isDetached(candidate)))[0]
  return doc === undefined ? undefined : read(doc)
}

/**
 * The compiler attaches the nearest doc comment to a declaration. An empty line between them shows that it isn't the
 * declaration's.
 */
function isDetached (doc: ts.JSDoc): boolean {
  const named = doc.tags?.some(({ tagName }) => OVERVIEW.includes(tagName.text)) === true
  return named || /^[^\S\n]*\r?\n[^\S\n]*\r?\n/.test(doc.getSourceFile().text.slice(doc.end))
}

export function isHidden ({ tags }: Comment): boolean {
  return tags.some(({ name }) => HIDDEN.includes(name))
}

export function isEmpty ({ text, tags }: Comment): boolean {
  return text === '' && tags.length === 0
}

/** Returns the first sentence, on one line. */
export function summaryOf ({ text }: Comment): string {
  const [paragraph = ''] = text.split(/\n\s*\n/)
  const line = paragraph.replace(/\s+/g, ' ').trim()
  return /^.*?[.!?](?=\s|$)/.exec(line)?.[0] ?? line
}

/** Renders the whole comment as Markdown. */
export function render ({ text, tags }: Comment): string {
  const all = (...names: string[]): Tag[] => tags.filter(({ name }) => names.includes(name))
  const list = (title: string, items: readonly Tag[]): string => {
    const told = items.map(about).filter((item) => item !== '')
    return told.length === 0 ? '' : `**${title}**\n\n${told.map(bullet).join('\n')}`
  }
  const known = [
    'deprecated', 'param', 'template', 'typeParam', 'returns', 'return', 'throws', 'exception', 'default',
    'defaultValue', 'example', 'remarks', ...OVERVIEW
  ]
  return paragraphs(
    ...all('deprecated').map((tag) => `> **Deprecated**${tag.text === '' ? '' : `: ${tag.text.replaceAll('\n', '\n> ')}`}`),
    text,
    ...all('file', 'fileoverview', 'packageDocumentation', 'remarks').map((tag) => tag.text),
    list('Type parameters', all('template', 'typeParam')),
    list('Parameters', all('param')),
    ...all('returns', 'return').map((tag) => `**Returns** ${tag.text}`),
    list('Throws', all('throws', 'exception')),
    ...all('default', 'defaultValue').map((tag) => `**Default** ${asCode(tag.text)}`),
    ...tags.filter(({ name }) => !known.includes(name)).map((tag) => `**${capital(tag.name)}** ${tag.text}`.trim()),
    ...all('example').map(example)
  )
}

/** Renders the comment short enough for a list item. */
export function renderInline ({ text, tags }: Comment): string {
  const deprecated = tags.find(({ name }) => name === 'deprecated')
  const preset = tags.find(({ name }) => name === 'default' || name === 'defaultValue')
  return paragraphs(
    deprecated === undefined ? '' : `**Deprecated.** ${deprecated.text}`.trim(),
    text,
    preset === undefined ? '' : `Default: ${asCode(preset.text)}`
  )
}

function read (doc: ts.JSDoc): Comment {
  return { text: plain(doc.comment), tags: (doc.tags ?? []).map(readTag) }
}

function readTag (tag: ts.JSDocTag): Tag {
  const name = tag.tagName.text
  const text = plain(tag.comment)
  if (ts.isJSDocParameterTag(tag)) return { name, subject: tag.name.getText(), text: text.replace(/^-\s*/, '') }
  if (ts.isJSDocTemplateTag(tag)) {
    return { name, subject: tag.typeParameters.map((parameter) => parameter.name.text).join(', '), text: text.replace(/^-\s*/, '') }
  }
  if (ts.isJSDocThrowsTag(tag) && tag.typeExpression !== undefined) {
    return { name, subject: tag.typeExpression.type.getText(), text: text.replace(/^-\s*/, '') }
  }
  // The compiler takes the "https" of "@see https://…" for a name, so the tag is read from the source.
  if (ts.isJSDocSeeTag(tag)) return { name, text: links(tag.getText().replace(/^@see\s*/, '').replace(/\n\s*\*? ?/g, '\n').trim()) }
  // The compiler does not know `@typeParam`, TSDoc's own name for the tag.
  const [, subject, rest = ''] = /^(\S+)(?:\s+-)?\s*([^]*)$/.exec(text) ?? []
  return name === 'typeParam' && subject !== undefined ? { name, subject, text: rest } : { name, text }
}

function plain (comment: string | ts.NodeArray<ts.JSDocComment> | undefined): string {
  return links(ts.getTextOfJSDocComment(comment) ?? '').trim()
}

function links (text: string): string {
  return text.replace(/\{@link(?:code|plain)?\s+([^\s|}]+)[\s|]*([^}]*)\}/g, (_, target: string, label: string) => {
    const title = label.trim()
    if (/^https?:/.test(target)) return title === '' ? `<${target}>` : `[${title}](${target})`
    return title === '' ? `\`${target}\`` : title
  })
}

function about ({ subject, text }: Tag): string {
  if (subject === undefined) return text
  return text === '' ? `\`${subject}\`` : `\`${subject}\`: ${text}`
}

function example ({ text }: Tag): string {
  if (text === '') return ''
  const [, title = '', code = ''] = /^(?:<caption>(.*?)<\/caption>\s*)?([^]*)$/.exec(text) ?? []
  return paragraphs(title === '' ? '**Example**' : `**Example**: ${title}`, /^ *```/m.test(code) ? code : fence(code))
}

function asCode (text: string): string {
  return text.includes('`') || text.includes(' ') ? text : `\`${text}\``
}

function capital (name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1)
}
