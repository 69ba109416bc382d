import ts from 'typescript'
import { commentOf, isEmpty, render, renderInline } from './comment.js'
import type { Export } from './exports.js'
import { bullet, fence, paragraphs } from './markdown.js'
import { membersOf } from './members.js'
import { kindOf, resolvedOf, shapeOf } from './shape.js'

/** Renders one export as Markdown: its declaration, its comment, and the same for its members. */
export function * sectionOf (entry: Export, checker: ts.TypeChecker): Generator<string> {
  const declarations = withoutImplementation(entry.declarations)
  const facts = [
    [...new Set(declarations.map(kindOf))].join(' and '),
    ...entry.isDefault ? ['the default export'] : [],
    ...entry.aliases.map((name) => `also exported as \`${name}\``),
    ...entry.from === undefined ? [] : [`from \`${entry.from}\``]
  ]
  yield paragraphs(
    `## \`${entry.name}\``,
    `*${facts.join(', ')}*`,
    fence(declarations.map((node) => shapeOf(node, checker)).join('\n')),
    ...declarations.map((node) => resolvedOf(node, checker)).filter((text) => text !== undefined).map((text) => paragraphs('Resolves to:', fence(text))),
    ...commentsOf(declarations)
  )
  for (const node of declarations) yield * membersSection(entry.name, node, checker)
}

function * membersSection (owner: string, node: ts.Declaration, checker: ts.TypeChecker): Generator<string> {
  if (ts.isEnumDeclaration(node)) {
    const told = node.members.map((member) => line(member.name.getText(), member)).filter((text) => text !== '')
    if (told.length > 0) yield told.join('\n')
    return
  }
  const holder = ts.isTypeAliasDeclaration(node) ? node.type : node
  if (!ts.isClassDeclaration(holder) && !ts.isInterfaceDeclaration(holder) && !ts.isTypeLiteralNode(holder)) return
  const members = membersOf(holder, checker)
  const properties = members.filter(({ callable }) => !callable).map((member) => line(member.name, member.node)).filter((text) => text !== '')
  if (properties.length > 0) yield properties.join('\n')
  for (const { name, node } of members.filter(({ callable }) => callable)) {
    const comment = commentOf(node)
    if (!isEmpty(comment)) yield paragraphs(`### \`${name === 'constructor' ? `new ${owner}` : `${owner}.${name}`}\``, render(comment))
  }
}

function line (name: string, node: ts.Node): string {
  const comment = commentOf(node)
  return isEmpty(comment) ? '' : bullet(`\`${name}\`: ${renderInline(comment)}`)
}

/** Overloads often share one comment, which is shown once. */
function commentsOf (declarations: readonly ts.Declaration[]): string[] {
  return [...new Set(declarations.map((node) => render(commentOf(node))))]
}

function withoutImplementation (declarations: readonly ts.Declaration[]): readonly ts.Declaration[] {
  const overloaded = declarations.some((node) => ts.isFunctionDeclaration(node) && node.body === undefined)
  return overloaded ? declarations.filter((node) => !ts.isFunctionDeclaration(node) || node.body === undefined) : declarations
}
