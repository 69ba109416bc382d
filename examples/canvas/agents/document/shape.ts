import ts from 'typescript'
import { membersOf } from './members.js'
import { signature, typeParameters } from './signature.js'
import { expanded, head, indent, inferred, lineCount, printed, verbatim, written } from './text.js'

const MOST_LINES = 60
const MOST_RESOLVED_LINES = 40

/** Returns the kind of the export in the reader's words. */
export function kindOf (node: ts.Declaration): string {
  if (ts.isFunctionDeclaration(node) || isFunctionVariable(node)) return 'function'
  if (ts.isExportAssignment(node) && isFunction(node.expression)) return 'function'
  if (ts.isClassDeclaration(node)) return 'class'
  if (ts.isInterfaceDeclaration(node)) return 'interface'
  if (ts.isTypeAliasDeclaration(node)) return 'type'
  if (ts.isEnumDeclaration(node)) return 'enum'
  if (ts.isModuleDeclaration(node) || ts.isSourceFile(node)) return 'namespace'
  if ((ts.isVariableDeclaration(node) || ts.isBindingElement(node)) && (ts.getCombinedNodeFlags(node) & ts.NodeFlags.Const) === 0) return 'variable'
  return 'constant'
}

/** Renders a declaration for its users: without bodies and private members, and with inferred types. */
export function shapeOf (node: ts.Declaration, checker: ts.TypeChecker): string {
  return head(shape(node, checker), MOST_LINES)
}

/**
 * Resolves a type that is written in terms of others, such as `Static<typeof Schema>` or `Omit<Options, 'path'>`. Returns
 * `undefined` if the result adds no information, or is far too long.
 */
export function resolvedOf (node: ts.Declaration, checker: ts.TypeChecker): string | undefined {
  if (!ts.isTypeAliasDeclaration(node) || node.typeParameters !== undefined || !isDerived(node.type)) return undefined
  const text = expanded(checker.getTypeAtLocation(node), checker, node.getSourceFile())
  if (text === undefined || text === 'any' || lineCount(text) > MOST_RESOLVED_LINES) return undefined
  const same = text.replace(/\s+/g, '') === written(node.type).replace(/\s+/g, '')
  return same ? undefined : `type ${node.name.text} =${text.startsWith('\n') ? text : ` ${text}`}`
}

function shape (node: ts.Declaration, checker: ts.TypeChecker): string {
  if (ts.isFunctionDeclaration(node)) return signature(`function ${node.name?.text ?? ''}`, node, checker)
  if (ts.isClassDeclaration(node)) return classText(node, checker)
  if (ts.isInterfaceDeclaration(node)) return block(`interface ${node.name.text}${typeParameters(node)}${heritage(node)}`, node, checker)
  if (ts.isTypeAliasDeclaration(node)) return aliasText(node)
  if (ts.isEnumDeclaration(node)) return enumText(node, checker)
  if (ts.isVariableDeclaration(node)) return variableText(node, checker)
  if (ts.isBindingElement(node)) return bindingText(node, checker)
  if (ts.isExportAssignment(node)) return valueText('export default', node.expression, checker, ' ')
  if (ts.isModuleDeclaration(node) || ts.isSourceFile(node)) return namespaceText(node, checker)
  return printed(node)
}

function aliasText (node: ts.TypeAliasDeclaration): string {
  const text = written(node.type)
  return `type ${node.name.text}${typeParameters(node)} =${text.startsWith('|') ? `\n${indent(text)}` : ` ${text}`}`
}

function classText (node: ts.ClassDeclaration, checker: ts.TypeChecker): string {
  const abstract = node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.AbstractKeyword) === true ? 'abstract ' : ''
  const name = node.name === undefined ? '' : ` ${node.name.text}`
  return block(`${abstract}class${name}${typeParameters(node)}${heritage(node)}`, node, checker)
}

function block (title: string, node: ts.ClassDeclaration | ts.InterfaceDeclaration, checker: ts.TypeChecker): string {
  const members = membersOf(node, checker).map(({ shape }) => indent(shape))
  return members.length === 0 ? `${title} {}` : `${title} {\n${members.join('\n')}\n}`
}

function heritage ({ heritageClauses }: ts.ClassDeclaration | ts.InterfaceDeclaration): string {
  return heritageClauses?.map((clause) => ` ${written(clause)}`).join('') ?? ''
}

function enumText (node: ts.EnumDeclaration, checker: ts.TypeChecker): string {
  const members = node.members.map((member) => {
    const value = checker.getConstantValue(member)
    const name = printed(member.name)
    return value === undefined ? name : `${name} = ${typeof value === 'string' ? `'${value}'` : value}`
  })
  return `enum ${node.name.text} {\n${indent(members.join(',\n'))}\n}`
}

function variableText (node: ts.VariableDeclaration, checker: ts.TypeChecker): string {
  const name = `${keywordOf(node)} ${printed(node.name)}`
  if (node.type !== undefined) return `${name}: ${written(node.type)}`
  if (isFunctionVariable(node)) return signature(`${name}: `, node.initializer, checker, ' => ')
  return node.initializer === undefined ? name : valueText(name, node.initializer, checker, ' = ')
}

/** In `export const { a } = options`, the name is only a part of the statement. */
function bindingText (node: ts.BindingElement, checker: ts.TypeChecker): string {
  const type = inferred(checker.getTypeAtLocation(node), checker)
  return `${keywordOf(node)} ${printed(node.name)}${type === undefined ? '' : `: ${type}`}`
}

function keywordOf (node: ts.Declaration): string {
  return kindOf(node) === 'variable' ? 'let' : 'const'
}

/**
 * Renders a value instead of its type if the value is more informative: a literal, or a call whose type has no name and would be
 * spelled out.
 */
function valueText (name: string, value: ts.Expression, checker: ts.TypeChecker, assign: string): string {
  if (isFunction(value)) return signature(`${name}${assign}`, value, checker, ' => ')
  const type = isLiteral(value) ? undefined : inferred(checker.getTypeAtLocation(value), checker)
  return type === undefined || type.includes('{') ? `${name}${assign}${verbatim(value)}` : `${name}: ${type}`
}

function namespaceText (node: ts.ModuleDeclaration | ts.SourceFile, checker: ts.TypeChecker): string {
  const symbol = checker.getSymbolAtLocation(ts.isSourceFile(node) ? node : node.name)
  const names = symbol === undefined ? [] : checker.getExportsOfModule(symbol).map(({ name }) => name)
  const title = ts.isSourceFile(node) ? 'namespace' : `namespace ${node.name.text}`
  return `${title} { ${names.join(', ')} }`
}

function isFunctionVariable (node: ts.Node): node is ts.VariableDeclaration & { initializer: ts.ArrowFunction | ts.FunctionExpression } {
  return ts.isVariableDeclaration(node) && node.type === undefined && node.initializer !== undefined &&
    isFunction(node.initializer)
}

function isFunction (node: ts.Expression): node is ts.ArrowFunction | ts.FunctionExpression {
  return ts.isArrowFunction(node) || ts.isFunctionExpression(node)
}

function isLiteral (node: ts.Expression): boolean {
  if (ts.isAsExpression(node) || ts.isSatisfiesExpression(node) || ts.isParenthesizedExpression(node)) return isLiteral(node.expression)
  if (ts.isPrefixUnaryExpression(node)) return isLiteral(node.operand)
  if (ts.isBinaryExpression(node)) return isLiteral(node.left) && isLiteral(node.right)
  // Object.freeze({ … }) and similar calls
  if (ts.isCallExpression(node)) return node.expression.getText() === 'Object.freeze'
  return ts.isLiteralExpression(node) || ts.isTemplateExpression(node) || ts.isObjectLiteralExpression(node) ||
    ts.isArrayLiteralExpression(node) || node.kind === ts.SyntaxKind.TrueKeyword || node.kind === ts.SyntaxKind.FalseKeyword
}

function isDerived (node: ts.TypeNode): boolean {
  if (ts.isTypeReferenceNode(node)) return node.typeArguments !== undefined
  return ts.isTypeQueryNode(node) || ts.isIndexedAccessTypeNode(node) || ts.isMappedTypeNode(node) || ts.isConditionalTypeNode(node) ||
    ts.isTypeOperatorNode(node) || ts.isIntersectionTypeNode(node) || ts.isTemplateLiteralTypeNode(node)
}
