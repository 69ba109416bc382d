import { dirname, join } from 'node:path'
import ts from 'typescript'
import { isBelow } from '../../project-file.js'

export interface Source {
  /** The project root, with all symbolic links resolved. */
  root: string
  /** Relative to the root. */
  path: string
  text: string
}

/** One file with its types, as the compiler sees it in its project. */
export interface Program {
  root: string
  file: ts.SourceFile
  checker: ts.TypeChecker
}

/** Cache of parsed files, by path and parse settings. The libraries are most of the work, and the same for every file. */
const parsed = new Map<string, ts.SourceFile>()

/** Loads a file with its types. Throws a `SyntaxError` with the line number if the file has a syntax error. */
export function openProgram ({ root, path, text }: Source): Program {
  const target = join(root, path)
  const host = confinedHost(root, target, text)
  const program = ts.createProgram([target], compilerOptions(root, dirname(target)), host)
  const file = program.getSourceFile(target)
  if (file === undefined) throw new Error(`the compiler did not open ${path}`)
  const [mistake] = program.getSyntacticDiagnostics(file)
  if (mistake !== undefined) throw new SyntaxError(describe(mistake, path))
  return { root, file, checker: program.getTypeChecker() }
}

/** Returns a compiler host that follows imports for their types, but never out of the project. */
function confinedHost (root: string, target: string, text: string): ts.CompilerHost {
  const host = ts.createCompilerHost({})
  const libraries = dirname(host.getDefaultLibFileName({}))
  const allowed = (file: string): boolean => {
    const real = ts.sys.realpath?.(file) ?? file
    return isBelow(root, real) || isBelow(libraries, real)
  }
  const read = (file: string): string | undefined => file === target ? text : allowed(file) ? ts.sys.readFile(file) : undefined
  return {
    ...host,
    getCurrentDirectory: () => root,
    fileExists: (file) => ts.sys.fileExists(file) && allowed(file),
    readFile: read,
    getSourceFile: (file, options) => {
      const source = read(file)
      return source === undefined ? undefined : parse(file, source, options)
    }
  }
}

function parse (file: string, text: string, options: ts.ScriptTarget | ts.CreateSourceFileOptions): ts.SourceFile {
  const key = JSON.stringify([file, options])
  const known = parsed.get(key)
  if (known?.text === text) return known
  const source = ts.createSourceFile(file, text, options, true)
  parsed.set(key, source)
  return source
}

/** The project's own settings control how its imports resolve. A broken tsconfig.json must not prevent the documentation. */
function compilerOptions (root: string, directory: string): ts.CompilerOptions {
  const fallback: ts.CompilerOptions = {
    strict: true,
    target: ts.ScriptTarget.ESNext,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    jsx: ts.JsxEmit.Preserve
  }
  const config = ts.findConfigFile(directory, (file) => isBelow(root, file) && ts.sys.fileExists(file))
  if (config === undefined) return fallback
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(config, (file) => ts.sys.readFile(file)).config ?? {},
    // Only the options are needed. Without this the compiler would search the whole project for files.
    { ...ts.sys, readDirectory: () => [] },
    dirname(config)
  )
  return { ...fallback, ...options, noEmit: true }
}

function describe ({ file, start, messageText }: ts.Diagnostic, path: string): string {
  const line = file === undefined || start === undefined ? '' : `:${file.getLineAndCharacterOfPosition(start).line + 1}`
  return `${path}${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
}
