import ts from 'typescript'
import { commentOf, isHidden } from './comment.js'
import { signature } from './signature.js'
import { inferred, printed, written } from './text.js'

/** A public member of a class or an interface. */
export interface Member {
  name: string
  shape: string
  /** Whether it can be called. A property can only be read and written. */
  callable: boolean
  node: ts.Node
}

export function membersOf (node: ts.ClassDeclaration | ts.InterfaceDeclaration | ts.TypeLiteralNode, checker: ts.TypeChecker): Member[] {
  if (ts.isClassDeclaration(node)) return withoutImplementations(node.members).filter(isPublic).flatMap((member) => classMember(member, checker))
  return node.members.filter(isPublic).map((member) => ({
    name: nameOf(member),
    shape: printed(member),
    callable: ts.isMethodSignature(member),
    node: member
  }))
}

function classMember (node: ts.ClassElement, checker: ts.TypeChecker): Member[] {
  const member = (shape: string, callable: boolean): Member => ({ name: nameOf(node), shape: `${modifiers(node)}${shape}`, callable, node })
  if (ts.isMethodDeclaration(node)) {
    return [member(signature(`${printed(node.name)}${node.questionToken === undefined ? '' : '?'}`, node, checker), true)]
  }
  if (ts.isConstructorDeclaration(node)) return [...parameterProperties(node, checker), member(signature('constructor', node, checker), true)]
  if (ts.isGetAccessor(node)) return [member(signature(`get ${printed(node.name)}`, node, checker), false)]
  if (ts.isSetAccessor(node)) return [member(signature(`set ${printed(node.name)}`, node, checker), false)]
  if (ts.isPropertyDeclaration(node)) return [member(propertyText(node, checker), false)]
  if (ts.isIndexSignatureDeclaration(node)) return [member(printed(node), false)]
  return []
}

/** `constructor (readonly name: string)` also declares a property. */
function parameterProperties (node: ts.ConstructorDeclaration, checker: ts.TypeChecker): Member[] {
  return node.parameters
    .filter((parameter) => ts.isParameterPropertyDeclaration(parameter, node) && isPublic(parameter))
    .map((parameter) => ({
      name: nameOf(parameter),
      shape: `${modifiers(parameter)}${propertyText(parameter, checker)}`,
      callable: false,
      node: parameter
    }))
}

function propertyText (node: ts.PropertyDeclaration | ts.ParameterDeclaration, checker: ts.TypeChecker): string {
  const type = node.type === undefined ? inferred(checker.getTypeAtLocation(node), checker) : written(node.type)
  return `${printed(node.name)}${node.questionToken === undefined ? '' : '?'}${type === undefined ? '' : `: ${type}`}`
}

/** If there are overloads, the implementation's signature can't be called. */
function withoutImplementations (members: ts.NodeArray<ts.ClassElement>): ts.ClassElement[] {
  const overloaded = new Set(members.filter((member) => isCallable(member) && member.body === undefined).map(nameOf))
  return members.filter((member) => !(isCallable(member) && member.body !== undefined && overloaded.has(nameOf(member))))
}

function isCallable (node: ts.ClassElement): node is ts.MethodDeclaration | ts.ConstructorDeclaration {
  return ts.isMethodDeclaration(node) || ts.isConstructorDeclaration(node)
}

function isPublic (node: ts.ClassElement | ts.TypeElement | ts.ParameterDeclaration): boolean {
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected
  if ((ts.getCombinedModifierFlags(node) & hidden) !== 0) return false
  return (node.name === undefined || !ts.isPrivateIdentifier(node.name)) && !isHidden(commentOf(node))
}

function modifiers (node: ts.ClassElement | ts.ParameterDeclaration): string {
  const told: readonly ts.SyntaxKind[] = [ts.SyntaxKind.StaticKeyword, ts.SyntaxKind.AbstractKeyword, ts.SyntaxKind.ReadonlyKeyword]
  const all = ts.canHaveModifiers(node) ? ts.getModifiers(node) ?? [] : []
  return all.filter(({ kind }) => told.includes(kind)).map((modifier) => `${modifier.getText()} `).join('')
}

function nameOf (node: ts.ClassElement | ts.TypeElement | ts.ParameterDeclaration): string {
  if (ts.isConstructorDeclaration(node)) return 'constructor'
  return node.name === undefined ? '' : printed(node.name)
}
