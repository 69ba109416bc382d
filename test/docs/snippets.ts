import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import ts from 'typescript'
import { strip } from '../loader/strip.mjs'
import { RUN_TYPESCRIPT } from '../support/child.js'

// Compiles and runs the code blocks of a page without changes.

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Declarations of what a block may use without declaring it, because the text around the block mentions it. */
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
 * Returns the errors of the compiler in the blocks, such as `line-41.ts:3 message`. A name that ends with `.tsx` is a block
 * with JSX. Blocks are checked as strictly as the code, with a browser's types, as if they were in `folder`.
 */
export async function typeErrors (blocks: ReadonlyMap<string, string>, folder = 'test/docs'): Promise<string[]> {
  const directory = mkdtempSync(`${root}${folder}/.snippets-`)
  try {
    const files = new Map([...blocks].map(([name, text]) => [name.endsWith('.tsx') ? name : `${name}.ts`, text])).set('globals.d.ts', GLOBALS)
    for (const [name, text] of files) writeFileSync(`${directory}/${name}`, text)
    writeFileSync(`${directory}/tsconfig.json`, JSON.stringify({ extends: `${root}tsconfig.json`, compilerOptions, files: [...files.keys()], include: [] }))
    const { stdout, stderr, code = 0 }: { stdout: string, stderr: string, code?: number } = await promisify(execFile)('env', [...NODE, TSC, '-p', directory, '--pretty', 'false'], { timeout: 300_000 })
      .catch((error: unknown) => error as { stdout: string, stderr: string, code?: number })
    const found = [...stdout.matchAll(/([^/\n]+)\((\d+),\d+\): error TS\d+: (.*)/g)].map(([, name, line, message]) => `${name}:${line} ${message}`)
    if (code !== 0 && found.length === 0) throw new Error(`the compiler ended with ${code}: ${stdout}${stderr}`)
    return found
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Arguments of `env` that run Node.js without the loaders that tap adds to every child process. */
const NODE = ['-u', 'NODE_OPTIONS', process.execPath]
const TSC = `${root}node_modules/typescript-7/bin/tsc`
const compilerOptions = { lib: ['es2024', 'dom', 'dom.iterable', 'esnext.disposable'], rootDir: root, moduleDetection: 'force', noUnusedLocals: false }

/** The files that earlier programs have read. Later programs share them, because parsing takes most of the time. */
const parsed = new Map<string, ts.SourceFile>()

/**
 * Creates a program that reads only this package's sources. The names and comments of properties need no types of packages or
 * of the DOM, which take seconds to read.
 */
function programOf (path: string): ts.Program {
  const options: ts.CompilerOptions = { lib: ['lib.es5.d.ts'], types: [], jsx: ts.JsxEmit.ReactJSX, target: ts.ScriptTarget.ESNext }
  const host = ts.createCompilerHost(options)
  const onDisk = { ...host }
  host.getSourceFile = (path, languageVersion) => {
    const file = parsed.get(path) ?? onDisk.getSourceFile(path, languageVersion)
    if (file !== undefined) parsed.set(path, file)
    return file
  }
  host.resolveModuleNameLiterals = (literals, from) => literals.map(({ text }) => {
    const stem = text.startsWith('.') ? fileURLToPath(new URL(text.replace(/\.js$/, ''), `file://${from}`)) : undefined
    const extension = [ts.Extension.Ts, ts.Extension.Tsx].find((extension) => stem !== undefined && existsSync(stem + extension))
    return { resolvedModule: extension && { resolvedFileName: stem! + extension, extension } }
  })
  return ts.createProgram([path], options, host)
}

/** Returns the names of the public properties of an exported interface or class in a file of lib/. */
export function propertiesOf (path: string, name: string): string[] {
  return symbolsOf(path, name).filter(({ name }) => !/^(?:__)?#/.test(name)).map((property) => property.name)
}

/** Returns the `@default` values in the doc comments of an exported interface's properties. Properties without a value are left out. */
export function documentedDefaultsOf (path: string, name: string): Record<string, string> {
  return Object.fromEntries(symbolsOf(path, name).flatMap((property) => {
    const tag = property.getJsDocTags(undefined).find((tag) => tag.name === 'default')
    return tag === undefined ? [] : [[property.name, ts.displayPartsToString(tag.text)]]
  }))
}

function symbolsOf (path: string, name: string): ts.Symbol[] {
  const program = programOf(`${root}${path}`)
  const checker = program.getTypeChecker()
  const symbol = checker.getSymbolAtLocation(program.getSourceFile(`${root}${path}`)!)
  const exported = checker.getExportsOfModule(symbol!).find((entry) => entry.name === name)
  return checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(exported!))
}

/**
 * Runs code in its own process, from a file inside the package, so that the code can import the package by name. Resolves with
 * its stdout. Rejects if it fails.
 */
export async function runSnippet (t: Test, code: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const directory = t.testdir({ 'snippet.mjs': await strip(code) })
  const { stdout } = await promisify(execFile)('env', [...NODE, ...RUN_TYPESCRIPT, `${directory}/snippet.mjs`], {
    cwd: root, env: { ...process.env, ...env }, timeout: 300_000
  })
  return stdout
}
