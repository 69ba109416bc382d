import { relative, sep } from 'node:path'
import ts from 'typescript'
import { isBelow } from '../../project-file.js'
import { commentOf, isHidden } from './comment.js'
import type { Program } from './program.js'

/** One export of the file. */
export interface Export {
  name: string
  /** Other names of the same export. */
  aliases: readonly string[]
  /** Whether it is (also) the default export. */
  isDefault: boolean
  /** Several if the name is overloaded, merged, or both a value and a type. */
  declarations: readonly ts.Declaration[]
  /** The project file that declares it, if it is not the documented one. */
  from?: string
}

/** A re-exported name without a visible declaration: from a package, or from a module that wasn't found. */
export interface Reexport {
  name: string
  from: string
}

export interface Exports {
  documented: readonly Export[]
  passedOn: readonly Reexport[]
}

/** The compiler's names of `export default` and `export =`. */
const DEFAULTS: readonly string[] = [ts.InternalSymbolName.Default, ts.InternalSymbolName.ExportEquals]

export function exportsOf (program: Program): Exports {
  const { checker, file } = program
  const module = checker.getSymbolAtLocation(file)
  const documented = new Map<ts.Symbol, Export>()
  const passedOn: Reexport[] = unresolvedStars(program)
  if (module === undefined) return { documented: [], passedOn }

  for (const symbol of symbolsOf(module, checker).toSorted((a, b) => position(a, file) - position(b, file))) {
    const target = resolve(symbol, checker)
    const declarations = target?.declarations?.filter((declaration) => isOwn(declaration, program)) ?? []
    if (target === undefined || declarations.length === 0) {
      passedOn.push({ name: symbol.name, from: originOf(symbol, target, program) })
      continue
    }
    if (declarations.some((declaration) => isHidden(commentOf(declaration)))) continue
    const known = documented.get(target)
    documented.set(target, merge(known, symbol, target, declarations, program))
  }
  return { documented: [...documented.values()], passedOn }
}

/** The export of `export =` is the module itself; the compiler lists only its parts. */
function symbolsOf (module: ts.Symbol, checker: ts.TypeChecker): ts.Symbol[] {
  const whole = module.exports?.get(ts.InternalSymbolName.ExportEquals)
  return whole === undefined ? checker.getExportsOfModule(module) : [whole]
}

/** `export { run }` beside `export default run` is one export with two names. It is documented once. */
function merge (
  known: Export | undefined, symbol: ts.Symbol, target: ts.Symbol, declarations: readonly ts.Declaration[], program: Program
): Export {
  const isDefault = DEFAULTS.includes(symbol.name)
  const local = localName(target)
  const names = new Set(known === undefined ? [] : [known.name, ...known.aliases])
  if (!isDefault) names.add(symbol.name)
  // The export's own name comes first, because its declaration shows that one.
  const name = names.size === 0 || names.has(local) ? local : [...names][0] ?? local
  names.delete(name)
  const from = declarations[0]?.getSourceFile()
  return {
    name,
    aliases: [...names],
    isDefault: isDefault || known?.isDefault === true,
    declarations,
    ...from !== undefined && from !== program.file && { from: pathOf(from, program) }
  }
}

function localName (symbol: ts.Symbol): string {
  const name = ts.getNameOfDeclaration(symbol.valueDeclaration ?? symbol.declarations?.[0])
  return name !== undefined && ts.isIdentifier(name) ? name.text : 'default'
}

function resolve (symbol: ts.Symbol, checker: ts.TypeChecker): ts.Symbol | undefined {
  if ((symbol.flags & ts.SymbolFlags.Alias) === 0) return symbol
  const target = checker.getAliasedSymbol(symbol)
  return checker.isUnknownSymbol(target) ? undefined : target
}

function isOwn (declaration: ts.Declaration, { root, file }: Program): boolean {
  const source = declaration.getSourceFile()
  return source === file || (isBelow(root, source.fileName) && !source.fileName.includes('/node_modules/'))
}

/** Returns the sort key of an export. Exports of the file come in source order, followed by those of `export *`. */
function position (symbol: ts.Symbol, file: ts.SourceFile): number {
  const here = symbol.declarations?.find((declaration) => declaration.getSourceFile() === file)
  return here?.pos ?? Number.MAX_SAFE_INTEGER
}

function originOf (symbol: ts.Symbol, target: ts.Symbol | undefined, program: Program): string {
  const written = symbol.declarations?.map((declaration) => specifierOf(imported(declaration, program))).find((specifier) => specifier !== undefined)
  if (written !== undefined) return written
  const source = (target ?? symbol).declarations?.[0]?.getSourceFile()
  return source === undefined ? 'another module' : packageOf(source.fileName) ?? pathOf(source, program)
}

/** For `import { a } from 'b'; export { a }`, returns the import. */
function imported (declaration: ts.Declaration, { checker }: Program): ts.Declaration {
  const local = ts.isExportSpecifier(declaration) ? checker.getExportSpecifierLocalTargetSymbol(declaration) : undefined
  return local?.declarations?.[0] ?? declaration
}

function packageOf (fileName: string): string | undefined {
  return /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(fileName)?.[1]
}

/** `export *` from a module that can't be found has no symbols, but it must not be omitted. */
function unresolvedStars ({ checker, file }: Program): Reexport[] {
  return file.statements
    .filter((statement) => ts.isExportDeclaration(statement))
    .filter(({ exportClause, moduleSpecifier }) => exportClause === undefined && moduleSpecifier !== undefined && checker.getSymbolAtLocation(moduleSpecifier) === undefined)
    .map((statement) => ({ name: '*', from: specifierOf(statement) ?? '' }))
}

/** Returns the module specifier of a declaration: of `export { a } from './a.js'`, or of the import that it re-exports. */
function specifierOf (declaration: ts.Node): string | undefined {
  const statement = ts.findAncestor(declaration, (node) => ts.isExportDeclaration(node) || ts.isImportDeclaration(node))
  const specifier = statement?.moduleSpecifier
  return specifier !== undefined && ts.isStringLiteral(specifier) ? specifier.text : undefined
}

function pathOf (source: ts.SourceFile, { root }: Program): string {
  return relative(root, source.fileName).split(sep).join('/')
}
