import ts from 'typescript'

const printer = ts.createPrinter({ removeComments: true, newLine: ts.NewLineKind.LineFeed })

const TYPE_FLAGS = (ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope |
  ts.TypeFormatFlags.UseSingleQuotesForStringLiteralType) as ts.TypeFormatFlags
const NODE_FLAGS = (ts.NodeBuilderFlags.NoTruncation | ts.NodeBuilderFlags.InTypeAlias | ts.NodeBuilderFlags.MultilineObjectLiterals |
  ts.NodeBuilderFlags.UseAliasDefinedOutsideCurrentScope | ts.NodeBuilderFlags.UseSingleQuotesForStringLiteralType) as ts.NodeBuilderFlags

export const LINE_WIDTH = 100
const LONGEST_INFERRED_TYPE = 160

/** Returns a node's source text or, if it contains comments, the compiler's output without them. */
export function written (node: ts.Node): string {
  const text = node.getText()
  return text.includes('/*') || text.includes('//') ? printed(node) : verbatim(node)
}

export function printed (node: ts.Node): string {
  return print(node, node.getSourceFile())
}

/** Returns an inferred type; `undefined` if it would not help a reader. */
export function inferred (type: ts.Type, checker: ts.TypeChecker): string | undefined {
  const text = checker.typeToString(type, undefined, TYPE_FLAGS)
  return text.length > LONGEST_INFERRED_TYPE || /\bany\b/.test(text) ? undefined : text
}

/** Returns the resolved type of a type alias, on as many lines as it needs. */
export function expanded (type: ts.Type, checker: ts.TypeChecker, file: ts.SourceFile): string | undefined {
  const toNode = (part: ts.Type): ts.TypeNode | undefined => checker.typeToTypeNode(part, undefined, NODE_FLAGS)
  const node = toNode(type)
  if (node === undefined) return undefined
  const alternatives = alternativesOf(type, node, toNode)
  if (alternatives === undefined) return print(node, file)
  const parts = alternatives.map((alternative) => print(alternative, file))
  const line = parts.join(' | ')
  return line.length <= LINE_WIDTH && !line.includes('\n') ? line : parts.map((part) => `\n  | ${part.replaceAll('\n', '\n    ')}`).join('')
}

function alternativesOf (type: ts.Type, node: ts.TypeNode, toNode: (type: ts.Type) => ts.TypeNode | undefined): readonly ts.TypeNode[] | undefined {
  if (ts.isUnionTypeNode(node)) return node.types
  // The compiler remembers that a union came from `keyof`, and would print only that.
  return ts.isTypeOperatorNode(node) && type.isUnion() ? type.types.map(toNode).filter((member) => member !== undefined) : undefined
}

export function indent (text: string): string {
  return text.replace(/^(?=.)/gm, '  ')
}

/** Returns the first lines and the number of the remaining ones. */
export function head (text: string, lines: number): string {
  const all = text.split('\n')
  return all.length <= lines ? text : [...all.slice(0, lines), `// … ${all.length - lines} more lines`].join('\n')
}

export function lineCount (text: string): number {
  return text.split('\n').length
}

/** Returns a node with its comments. Its further lines lose the indentation of its first line. */
export function verbatim (node: ts.Node): string {
  const file = node.getSourceFile()
  const start = node.getStart()
  const lineStart = file.text.lastIndexOf('\n', start - 1) + 1
  const [indentation = ''] = /^[ \t]*/.exec(file.text.slice(lineStart, start)) ?? []
  return node.getText().replaceAll(`\n${indentation}`, '\n')
}

function print (node: ts.Node, file: ts.SourceFile): string {
  return printer.printNode(ts.EmitHint.Unspecified, node, file)
    .replace(/^(?: {4})+/gm, (indentation) => ' '.repeat(indentation.length / 2))
    .replace(/;$/gm, '')
}
