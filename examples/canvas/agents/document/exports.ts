import { relative, sep } from 'node:path'
import ts from 'typescript'
import { isBelow } from '../../project-file.js'
import { commentOf, isHidden } from './comment.js'
import type { Program } from './program.js'

/** One thing that the file gives to others. */
export interface Export {
  name: string
  /** Further names of the same thing. */
  aliases: readonly string[]
  /** Whether it is (also) what a default import brings. */
  isDefault: boolean
  /** Several when the name is overloaded, merged, or both a value and a type. */
  declarations: readonly ts.Declaration[]
  /** The project's file that declares it, when it is another one than the documented. */
  from?: string
}

/** A name that is passed on from where no declaration is shown: a package, or a module that wasn't found. */
export interface Reexport {
  name: string
  from: string
}

export interface Exports {
  documented: readonly Export[]
  passedOn: readonly Reexport[]
}

/** As the compiler names `export default` and `export =`. */
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

/** What `export =` gives is the module itself, of which the compiler lists only the parts. */
function symbolsOf (module: ts.Symbol, checker: ts.TypeChecker): ts.Symbol[] {
  const whole = module.exports?.get(ts.InternalSymbolName.ExportEquals)
  return whole === undefined ? checker.getExportsOfModule(module) : [whole]
}

/** `export { run }` beside `export default run` is one thing with two ways in, and is told once. */
function merge (
  known: Export | undefined, symbol: ts.Symbol, target: ts.Symbol, declarations: readonly ts.Declaration[], program: Program
): Export {
  const isDefault = DEFAULTS.includes(symbol.name)
  const local = localName(target)
  const names = new Set(known === undefined ? [] : [known.name, ...known.aliases])
  if (!isDefault) names.add(symbol.name)
  // Its own name first: that is the one its shape shows
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

/** What the file itself writes comes in its order; what `export *` brings comes after. */
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

/** For `import { a } from 'b'; export { a }`, the import. */
function imported (declaration: ts.Declaration, { checker }: Program): ts.Declaration {
  const local = ts.isExportSpecifier(declaration) ? checker.getExportSpecifierLocalTargetSymbol(declaration) : undefined
  return local?.declarations?.[0] ?? declaration
}

function packageOf (fileName: string): string | undefined {
  return /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(fileName)?.[1]
}

/** `export *` from a module that can't be found brings no symbols, but leaving it out would hide what the file says. */
function unresolvedStars ({ checker, file }: Program): Reexport[] {
  return file.statements
    .filter((statement) => ts.isExportDeclaration(statement))
    .filter(({ exportClause, moduleSpecifier }) => exportClause === undefined && moduleSpecifier !== undefined && checker.getSymbolAtLocation(moduleSpecifier) === undefined)
    .map((statement) => ({ name: '*', from: specifierOf(statement) ?? '' }))
}

/** The module that a declaration names, as written: of `export { a } from './a.js'`, or of the import it passes on. */
function specifierOf (declaration: ts.Node): string | undefined {
  const statement = ts.findAncestor(declaration, (node) => ts.isExportDeclaration(node) || ts.isImportDeclaration(node))
  const specifier = statement?.moduleSpecifier
  return specifier !== undefined && ts.isStringLiteral(specifier) ? specifier.text : undefined
}

function pathOf (source: ts.SourceFile, { root }: Program): string {
  return relative(root, source.fileName).split(sep).join('/')
}
