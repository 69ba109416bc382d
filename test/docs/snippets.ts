import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import ts from 'typescript'
import { strip } from '../loader/strip.mjs'
import { RUN_TYPESCRIPT } from '../support/child.js'

// Code blocks of a page, checked by the compiler and run as they stand.

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What a block may use without declaring it: what the text around it speaks of. */
const GLOBALS = `
  import type { FastifyInstance, FastifyRequest } from 'fastify'
  import type aiCanvas from 'ai-canvas-ws'
  import type OpenAI from 'openai'
  declare global {
    const app: FastifyInstance
    const aiCanvasWs: typeof aiCanvas
    const openai: OpenAI
    const sessionId: string
    const token: string
    const myQueue: { remove: (jobId: string) => boolean }
    function callTheModel (): Promise<void>
    function findUser (cookie: string | undefined): Promise<{ userId: string } | null>
    function isOperator (request: FastifyRequest): boolean
  }
`

/**
 * What the compiler has against the blocks, by name. They are checked as strictly as the code, with a browser's types, as if
 * they were in `folder`.
 */
export function typeErrors (blocks: ReadonlyMap<string, string>, folder = 'test/docs'): string[] {
  const files = new Map([...blocks].map(([name, text]) => [`${root}${folder}/${name}.ts`, text]))
  files.set(`${root}test/docs/globals.ts`, GLOBALS)
  const program = programOf([...files.keys()], files)
  return [...files.keys()].flatMap((path) => {
    const file = program.getSourceFile(path)
    const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
    return found.map(({ messageText, start = 0 }) => {
      const line = file!.getLineAndCharacterOfPosition(start).line + 1
      return `${path.slice(root.length)}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
    })
  })
}

const { config } = ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path)) as { config: unknown }
const options: ts.CompilerOptions = {
  ...ts.parseJsonConfigFileContent(config, { ...ts.sys, readDirectory: () => [] }, root).options,
  lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  moduleDetection: ts.ModuleDetectionKind.Force,
  noUnusedLocals: false
}

/** The files on disk that a program has read. The next program shares them: most of the time goes into parsing. */
const parsed = new Map<string, ts.SourceFile>()

/** A program of some files of the package, or of files that are not on disk. */
function programOf (paths: readonly string[], files: ReadonlyMap<string, string> = new Map()): ts.Program {
  const host = ts.createCompilerHost(options)
  const onDisk = { ...host }
  host.fileExists = (path) => files.has(path) || onDisk.fileExists(path)
  host.readFile = (path) => files.get(path) ?? onDisk.readFile(path)
  host.getSourceFile = (path, languageVersion) => {
    const text = files.get(path)
    if (text !== undefined) return ts.createSourceFile(path, text, languageVersion)
    const file = parsed.get(path) ?? onDisk.getSourceFile(path, languageVersion)
    if (file !== undefined) parsed.set(path, file)
    return file
  }
  return ts.createProgram(paths, options, host)
}

/** The public properties of an exported interface or class of a file of lib/. */
export function propertiesOf (path: string, name: string): string[] {
  return symbolsOf(path, name).filter(({ name }) => !/^(?:__)?#/.test(name)).map((property) => property.name)
}

/** What the doc comments of an exported interface's properties give as `@default`, where they do. */
export function documentedDefaultsOf (path: string, name: string): Record<string, string> {
  return Object.fromEntries(symbolsOf(path, name).flatMap((property) => {
    const tag = property.getJsDocTags(undefined).find((tag) => tag.name === 'default')
    return tag === undefined ? [] : [[property.name, ts.displayPartsToString(tag.text)]]
  }))
}

function symbolsOf (path: string, name: string): ts.Symbol[] {
  const program = programOf([`${root}${path}`])
  const checker = program.getTypeChecker()
  const symbol = checker.getSymbolAtLocation(program.getSourceFile(`${root}${path}`)!)
  const exported = checker.getExportsOfModule(symbol!).find((entry) => entry.name === name)
  return checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(exported!))
}

/**
 * Runs code in a process of its own, from a file inside of the package, so that it can import that by name. Answers what
 * it wrote; rejects when it fails.
 */
export async function runSnippet (t: Test, code: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const directory = t.testdir({ 'snippet.mjs': await strip(code) })
  const node = [process.execPath, ...RUN_TYPESCRIPT, `${directory}/snippet.mjs`]
  // As at a user's: without what tap loads into every Node.js below it.
  const { stdout } = await promisify(execFile)('env', ['-u', 'NODE_OPTIONS', ...node], {
    cwd: root, env: { ...process.env, ...env }, timeout: 300_000
  })
  return stdout
}
