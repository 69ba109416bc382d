import ts from 'typescript'
import { LINE_WIDTH, indent, inferred, printed, written } from './text.js'

type Callable = ts.SignatureDeclaration

/**
 * Renders how something is called: `greet(name: string, times: number = 1): string`. `separator` precedes the result. A
 * function type allows no default values, so with an arrow such a parameter is marked as optional.
 */
export function signature (prefix: string, node: Callable, checker: ts.TypeChecker, separator: ': ' | ' => ' = ': '): string {
  // A function type needs a result.
  const result = resultOf(node, checker) ?? (separator === ' => ' ? 'any' : undefined)
  const end = result === undefined ? '' : `${separator}${result}`
  const start = `${prefix}${typeParameters(node)}`
  const parameters = node.parameters.map((parameter) => parameterText(parameter, checker, separator === ' => '))
  const line = `${start}(${parameters.join(', ')})${end}`
  const fits = line.length <= LINE_WIDTH || parameters.length === 0 || parameters.some((text) => text.includes('\n'))
  return fits ? line : `${start}(\n${indent(parameters.join(',\n'))}\n)${end}`
}

export function typeParameters ({ typeParameters: parameters }: { typeParameters?: ts.NodeArray<ts.TypeParameterDeclaration> | undefined }): string {
  return parameters === undefined ? '' : `<${parameters.map(printed).join(', ')}>`
}

function parameterText (node: ts.ParameterDeclaration, checker: ts.TypeChecker, marked: boolean): string {
  const type = node.type === undefined ? inferred(checker.getTypeAtLocation(node), checker) : written(node.type)
  const optional = node.questionToken !== undefined || (marked && node.initializer !== undefined)
  return [
    node.dotDotDotToken === undefined ? '' : '...',
    printed(node.name),
    optional ? '?' : '',
    type === undefined ? '' : `: ${type}`,
    node.initializer === undefined || marked ? '' : ` = ${printed(node.initializer)}`
  ].join('')
}

function resultOf (node: Callable, checker: ts.TypeChecker): string | undefined {
  if (node.type !== undefined) return written(node.type)
  if (ts.isConstructorDeclaration(node) || ts.isSetAccessor(node)) return undefined
  const call = checker.getSignatureFromDeclaration(node)
  return call === undefined ? undefined : inferred(checker.getReturnTypeOfSignature(call), checker)
}
