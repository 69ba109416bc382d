import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { documentFile } from '../../../examples/canvas/agents/document/page.js'

type Files = Record<string, string>

/** Returns the documentation of `a.ts` in a project with these files, in pieces. */
function pieces (t: Test, files: Files): string[] {
  const root = t.testdir({ 'tsconfig.json': '{ "compilerOptions": { "module": "nodenext", "strict": true, "lib": ["es2022"] } }', ...files })
  return [...documentFile({ root, path: 'a.ts', text: files['a.ts']! })]
}

function page (t: Test, source: string, more: Files = {}): string {
  return pieces(t, { 'a.ts': source, ...more }).join('')
}

/** Returns the section under one heading. */
function section (markdown: string, heading: string): string {
  const start = markdown.indexOf(`## \`${heading}\`\n`)
  if (start === -1) return ''
  const end = markdown.indexOf('\n## ', start + 1)
  return markdown.slice(start, end === -1 ? undefined : end).trim()
}

t.test('a function: signature, parameters and everything that its comment says', async (t) => {
  t.equal(page(t, `
/**
 * Adds two numbers. See {@link Sum}, {@link Sum | the sum} and {@link https://example.org}.
 *
 * A second paragraph.
 *
 * @param a - the first
 * @param b the second,
 *   on two lines
 * @typeParam T what for
 * @template U what else
 * @returns the sum
 * @throws {RangeError} when it is too big
 * @throws at night
 * @default 3
 * @since 1.2
 * @see https://example.org/a?b=c
 * @deprecated use a calculator
 * @remarks Handle with care.
 * @example
 * add(1, 2) // 3
 * @example <caption>In Markdown</caption>
 * \`\`\`js
 * add(3)
 * \`\`\`
 */
export function add<T, U> (a: number, b = 2, ...rest: readonly string[]) { return a + b + rest.length }
`), `# \`a.ts\`

## \`add\`

*function*

\`\`\`ts
function add<T, U>(a: number, b: number = 2, ...rest: readonly string[]): number
\`\`\`

> **Deprecated**: use a calculator

Adds two numbers. See \`Sum\`, the sum and <https://example.org>.

A second paragraph.

Handle with care.

**Type parameters**

- \`T\`: what for
- \`U\`: what else

**Parameters**

- \`a\`: the first
- \`b\`: the second,
  on two lines

**Returns** the sum

**Throws**

- \`RangeError\`: when it is too big
- at night

**Default** \`3\`

**Since** 1.2

**See** https://example.org/a?b=c

**Example**

\`\`\`ts
add(1, 2) // 3
\`\`\`

**Example**: In Markdown

\`\`\`js
add(3)
\`\`\`
`)
})

t.test('a comment in its shortest and its oddest forms', async (t) => {
  const markdown = page(t, `
/** @deprecated */
export const a = 1
/** {@link https://example.org the site} and {@linkcode a}
 * @param b
 * @default a or b
 * @throws
 * @typeParam
 * @example
 */
export function f (b: number) {}
/** @fileoverview Not about the constant. */
export const g = 1
export interface I {
  /** @deprecated */
  a: 1
  /** Two.
   *
   * Paragraphs.
   */
  b: 2
  c: 3
}
`)
  t.match(section(markdown, 'a'), '```\n\n> **Deprecated**')
  t.match(section(markdown, 'f'), '[the site](https://example.org) and `a`\n\n**Parameters**\n\n- `b`')
  t.match(section(markdown, 'f'), '**Default** a or b')
  t.notMatch(section(markdown, 'g'), 'Not about')
  t.match(section(markdown, 'I'), '- `a`: **Deprecated.**\n- `b`: Two.\n\n  Paragraphs.')
})

t.test('functions in all their forms', async (t) => {
  const markdown = page(t, `
export function over (a: string): string
/** For numbers. */
export function over (a: number): number
export function over (a: unknown): unknown { return a }
export async function load ({ id, deep = false }: { id: string, deep?: boolean }) { return { id, deep } }
export function * count (to: number) { for (let i = 0; i < to; i++) yield i }
export const arrow = <T>(value: T, times = 1) => [value, times] as const
export const typed: (text: string) => void = () => {}
export const old = function (this: Date, unclear) { return unclear }
export function many (first: string, second: { readonly a: number, readonly b: number }, third: ReadonlyMap<string, number>) {}
export function isText (value: unknown): value is string { return typeof value === 'string' }
`)
  t.match(section(markdown, 'over'), '```ts\nfunction over(a: string): string\nfunction over(a: number): number\n```\n\nFor numbers.')
  t.match(section(markdown, 'load'), 'function load(\n  { id, deep = false }: { id: string, deep?: boolean }\n): Promise<{ id: string; deep: boolean; }>')
  t.match(section(markdown, 'count'), 'function count(to: number): Generator<number, void, unknown>')
  t.match(section(markdown, 'arrow'), '*function*\n\n```ts\nconst arrow: <T>(value: T, times?: number) => readonly [T, number]')
  t.match(section(markdown, 'typed'), '*constant*\n\n```ts\nconst typed: (text: string) => void')
  t.match(section(markdown, 'old'), 'const old: (this: Date, unclear) => any')
  t.match(section(markdown, 'many'), `function many(
  first: string,
  second: { readonly a: number, readonly b: number },
  third: ReadonlyMap<string, number>
): void`)
  t.match(section(markdown, 'isText'), 'function isText(value: unknown): value is string')
})

t.test('a class: its public members, and what is said about them', async (t) => {
  const markdown = page(t, `
export interface Options { deep?: boolean }
/** Holds things. */
export class Holder<T> extends Map<string, T> implements Iterable<[string, T]> {
  /** How many there are. */
  static count = 0
  #secret = 1
  private hidden = 2
  protected inner = 3
  /**
   * What it is called.
   * @default 'x'
   */
  readonly name: string = 'x'
  label?: string
  [key: symbol]: unknown
  /** Makes one. */
  constructor (readonly size2: number, private readonly z: string, y?: string) { super(); this.#secret = this.hidden + this.inner + z.length + (y?.length ?? 0) }
  get total () { return this.#secret }
  set total (value: number) { this.#secret = value }
  static { Holder.count = 1 }
  /**
   * Runs.
   * @param name whose
   */
  async run (name: string, options: Options = {}) { return name + String(options.deep) }
  over (a: string): void
  over (a: number): void
  over (_: unknown): void {}
  quiet? (): void
  /** @internal */
  machinery () {}
}
export abstract class Plan { abstract go (): void }
export class Empty {}
`)
  t.equal(section(markdown, 'Holder'), `## \`Holder\`

*class*

\`\`\`ts
class Holder<T> extends Map<string, T> implements Iterable<[string, T]> {
  static count: number
  readonly name: string
  label?: string
  [key: symbol]: unknown
  readonly size2: number
  constructor(size2: number, z: string, y?: string)
  get total(): number
  set total(value: number)
  run(name: string, options: Options = {}): Promise<string>
  over(a: string): void
  over(a: number): void
  quiet?(): void
}
\`\`\`

Holds things.

- \`count\`: How many there are.
- \`name\`: What it is called.

  Default: \`'x'\`

### \`new Holder\`

Makes one.

### \`Holder.run\`

Runs.

**Parameters**

- \`name\`: whose`)
  t.match(section(markdown, 'Plan'), 'abstract class Plan {\n  abstract go(): void\n}')
  t.match(section(markdown, 'Empty'), 'class Empty {}')
})

t.test('interfaces, type aliases and what they come down to', async (t) => {
  const markdown = page(t, `
export interface Shape extends Iterable<string> {
  /** What kind of shape. */
  readonly kind: 'circle' | 'square'
  (x: number): string
  new (y: string): Shape
  /** @deprecated has no effect */
  size?: number
  /** Draws it. */
  draw (on: string): void
}
export interface Box { width: number, height: number, depth: number }
/** Without depth. */
export type Flat = Omit<Box, 'depth'>
export type Side = keyof Box
export type Long = keyof { aaaaaaaaaaaaaaaaaaaaaaaa: 1, bbbbbbbbbbbbbbbbbbbbbbbbbbb: 1, cccccccccccccccccccccccccccc: 1, dddddddddddddddddddd: 1 }
export type Pair<A, B = A> = [A, B]
export type Either =
  | { a: 1 }
  | { b: 2 }
export type Told = {
  /** The first. */
  a: string
}
export type Lost = ReturnType<typeof import('./nowhere.js')>
`)
  t.match(section(markdown, 'Shape'), `interface Shape extends Iterable<string> {
  readonly kind: 'circle' | 'square'
  (x: number): string
  new (y: string): Shape
  size?: number
  draw(on: string): void
}
\`\`\`

- \`kind\`: What kind of shape.
- \`size\`: **Deprecated.** has no effect

### \`Shape.draw\`

Draws it.`)
  t.match(section(markdown, 'Flat'), `type Flat = Omit<Box, 'depth'>
\`\`\`

Resolves to:

\`\`\`ts
type Flat = {
  width: number
  height: number
}
\`\`\`

Without depth.`)
  t.match(section(markdown, 'Side'), /type Side = (?:'(?:width|height|depth)'(?: \| )?){3}$/m)
  t.match(section(markdown, 'Long'), "type Long =\n  | 'aaaaaaaaaaaaaaaaaaaaaaaa'\n  | 'bbbbbbbbbbbbbbbbbbbbbbbbbbb'\n")
  t.match(section(markdown, 'Pair'), 'type Pair<A, B = A> = [A, B]\n```')
  t.match(section(markdown, 'Either'), 'type Either =\n  | { a: 1 }\n  | { b: 2 }\n```')
  t.match(section(markdown, 'Told'), 'type Told = {\n  a: string\n}\n```\n\n- `a`: The first.')
  t.notMatch(section(markdown, 'Lost'), 'Resolves to')
})

t.test('constants, variables and enums', async (t) => {
  const markdown = page(t, `
export const limit = 100, text = \`a\${limit}\`
export const defaults = {
  path: '/ws', // where clients connect
  retry: true
} as const
export const frozen = Object.freeze({ a: 1 })
export const negative = -1, sum = 60 * 1000, list = [1, 2], yes = true, no = false, regex = /x/g, wrapped = ([1] satisfies number[])
export const map = new Map<string, number>()
export const made = (() => ({ a: 1, b: 2 }))()
export const typed: ReadonlyArray<string> = []
export const { one, two: [three] } = { one: 1, two: ['x'] }
export let counter = 0
export let later: string
export const lost = nowhere()
export const huge = [
${'  1,\n'.repeat(100)}]
const local = { a: 1 }
export { local as renamed }
declare const ambient: unique symbol
export { ambient }
/** How loud. */
export enum Level { Low, High = 10, Higher,
  /** For the deaf. */
  Full = 1 << 8, Named = 'named', Computed = 'x'.length }
`)
  const shows = (name: string, text: string): void => { t.match(section(markdown, name), `\`\`\`ts\n${text}\n\`\`\``, name) }
  shows('limit', 'const limit = 100')
  shows('text', 'const text = `a${limit}`')
  shows('defaults', "const defaults = {\n  path: '/ws', // where clients connect\n  retry: true\n} as const")
  shows('frozen', 'const frozen = Object.freeze({ a: 1 })')
  shows('negative', 'const negative = -1')
  shows('sum', 'const sum = 60 * 1000')
  shows('list', 'const list = [1, 2]')
  shows('yes', 'const yes = true')
  shows('regex', 'const regex = /x/g')
  shows('wrapped', 'const wrapped = ([1] satisfies number[])')
  shows('map', 'const map: Map<string, number>')
  shows('made', 'const made = (() => ({ a: 1, b: 2 }))()')
  shows('typed', 'const typed: ReadonlyArray<string>')
  shows('one', 'const one: number')
  shows('three', 'const three: string')
  shows('counter', 'let counter = 0')
  shows('later', 'let later: string')
  shows('lost', 'const lost = nowhere()')
  shows('renamed', 'const local = { a: 1 }')
  shows('ambient', 'const ambient: unique symbol')
  t.match(section(markdown, 'counter'), '*variable*')
  t.match(section(markdown, 'huge'), '// … 42 more lines')
  t.match(section(markdown, 'Level'), `enum Level {
  Low = 0,
  High = 10,
  Higher = 11,
  Full = 256,
  Named = 'named',
  Computed
}
\`\`\`

How loud.

- \`Full\`: For the deaf.`)
})

t.test('default exports, second names and two things under one name', async (t) => {
  const named = page(t, 'function run () {}\nexport default run\nexport { run, run as start }')
  t.equal(named.match(/^## /gm)?.length, 1, 'one thing, told once')
  t.match(section(named, 'run'), '*function, the default export, also exported as `start`*')

  t.match(section(page(t, 'export default { port: 3001 }'), 'default'), '*constant, the default export*\n\n```ts\nexport default { port: 3001 }')
  t.match(section(page(t, 'export default (a: number) => a'), 'default'), '*function, the default export*\n\n```ts\nexport default (a: number) => number')
  t.match(section(page(t, 'export default function () {}'), 'default'), 'function (): void')
  t.match(section(page(t, 'const x = 1\nexport = x', { 'tsconfig.json': '{ "compilerOptions": { "module": "commonjs" } }' }), 'x'), '*constant, the default export*')
  t.match(section(page(t, 'export default class { a = 1 }'), 'default'), 'class {\n  a: number\n}')

  t.match(section(page(t, 'export default interface Box { a: 1 }'), 'Box'), '*interface, the default export*\n\n```ts\ninterface Box {\n  a: 1\n}')

  const both = page(t, 'export const Id = String(1)\nexport type Id = typeof Id')
  t.match(section(both, 'Id'), '*constant and type*\n\n```ts\nconst Id: string\ntype Id = typeof Id')
  t.match(section(both, 'Id'), 'type Id = string')
})

t.test('what other files declare is documented with its origin; packages are only named', async (t) => {
  const markdown = page(t, `
import { basename } from 'node:path'
import { helper } from './b.js'
export { helper, basename }
export * from './c.js'
export * from './nowhere.js'
export * from 'some-package'
export * as letters from './b.js'
export { lost } from './nowhere.js'
export { given } from 'some-package'
export { default as json } from './d.json' with { type: 'json' }
`, {
    'b.ts': '/** Helps. */\nexport function helper () {}\nexport const x = 1',
    'c.ts': 'export class C {}',
    'd.json': '{ "d": 1 }',
    node_modules: {
      'some-package': { 'package.json': '{ "name": "some-package", "types": "index.d.ts" }', 'index.d.ts': 'export declare const given: string, star: number' }
    } as unknown as string
  })
  t.match(section(markdown, 'helper'), '*function, from `b.ts`*')
  t.match(section(markdown, 'helper'), 'Helps.')
  t.match(section(markdown, 'C'), '*class, from `c.ts`*')
  t.match(section(markdown, 'json'), '`d.json`')
  t.match(section(markdown, 'letters'), '*namespace, from `b.ts`*\n\n```ts\nnamespace { helper, x }')
  t.match(markdown, `## Re-exported from other modules

- \`./nowhere.js\`: everything, \`lost\`
- \`node:path\`: \`basename\`
- \`some-package\`: \`given\`, \`star\`
`)
})

t.test('what is added to other modules is shown, and a namespace by its names', async (t) => {
  const markdown = page(t, `
export namespace Names { export const a = 1; export type B = string }
declare module './b.js' {
  interface Box { extra: number }
}
`, { 'b.ts': 'export interface Box { a: 1 }' })
  t.match(markdown, "## Added to `./b.js`\n\n```ts\ndeclare module './b.js' {\n  interface Box { extra: number }\n}\n```")
  t.match(section(markdown, 'Names'), '*namespace*\n\n```ts\nnamespace Names { a, B }')
})

t.test('the file\'s own comment comes first, then a table of contents with working links', async (t) => {
  const markdown = page(t, `/**
 * What this file is for.
 */
import { x } from './x.js'

/** Works at once. And more. */
export const Work = x
/** Works
 * later! */
export const work = x
export const _other_thing$ = x
`)
  t.match(markdown, `# \`a.ts\`

What this file is for.

- [\`Work\`](#work): Works at once.
- [\`work\`](#work-1): Works later!
- [\`_other_thing$\`](#_other_thing)
`)
  t.match(page(t, '/** About the file. */\n\n/** About a. */\nexport const a = 1\n'), /^# `a.ts`\n\nAbout the file\.\n\n## `a`\n[^]*\nAbout a\.\n$/)
  t.match(page(t, '/** About the file. */\n\nexport const a = 1\n'), /^# `a.ts`\n\nAbout the file\.\n\n## `a`\n[^]*```\n$/, 'a comment with an empty line after it is not about what follows')
  t.match(page(t, '/** @packageDocumentation About it. */\nexport const a = 1\n'), /^# `a.ts`\n\nAbout it\./)
  t.match(page(t, '/** About a. */\nexport const a = 1\n'), /^# `a.ts`\n\n## `a`/)
})

t.test('what is marked as internal is left out', async (t) => {
  t.equal(page(t, '/** @internal */\nexport const a = 1\n/** @hidden */\nexport function b () {}'), '# `a.ts`\n\nThis file exports nothing.\n')
})

t.test('a file without exports says so', async (t) => {
  t.equal(page(t, 'const a = 1'), '# `a.ts`\n\nThis file exports nothing.\n')
  t.equal(page(t, ''), '# `a.ts`\n\nThis file exports nothing.\n')
})

t.test('a code block survives a comment that holds one, and a tag that nobody knows', async (t) => {
  const markdown = page(t, '/** @example\n * const fence = "````"\n * @flavour sweet */\nexport const a = 1')
  t.match(markdown, '`````ts\nconst fence = "````"\n`````')
  t.match(markdown, '**Flavour** sweet')
})

t.test('each declaration, and each method, is a piece of its own', async (t) => {
  const all = pieces(t, { 'a.ts': 'export const a = 1\nexport class B {\n  /** C. */\n  c () {}\n  /** D. */\n  d () {}\n}' })
  t.same(all.map((piece) => /#+ `([^`]*)`/.exec(piece)?.[1]), ['a.ts', undefined, 'a', 'B', 'B.c', 'B.d'])
})

t.test('a file that can\'t be parsed is refused with the line', async (t) => {
  t.throws(() => page(t, 'export const a = 1\nexport const = 2'), { name: 'SyntaxError', message: /^a\.ts:2: / })
})

t.test('a project without settings, or with broken ones, is documented all the same', async (t) => {
  t.match(page(t, 'export const a = 1', { 'tsconfig.json': '{ broken' }), 'const a = 1')
  const root = t.testdir({ src: { 'a.ts': '' } })
  t.match([...documentFile({ root: join(root, 'src'), path: 'a.ts', text: 'export const a = new Set<string>()' })].join(''), 'const a: Set<string>')
})

t.test('the types of files outside of the project are not read', async (t) => {
  const root = t.testdir({ 'secret.ts': 'export const secret = "hunter2" as const', in: { 'link.ts': t.fixture('symlink', '../secret.ts') } })
  const text = "import { secret } from '../secret.js'\nimport { secret as linked } from './link.js'\nexport const a = [secret, linked].map(String)\nexport { secret, linked }\nexport const b = Object(secret)"
  const markdown = [...documentFile({ root: join(root, 'in'), path: 'a.ts', text })].join('')
  t.notMatch(markdown, 'hunter2')
  t.match(markdown, '- `../secret.js`: `secret`\n- `./link.js`: `linked`')
})

t.test('our own files become pages that a person would use', async (t) => {
  const root = join(import.meta.dirname, '../../..')
  const path = 'lib/protocol/messages.ts'
  const markdown = [...documentFile({ root, path, text: readFileSync(join(root, path), 'utf8') })].join('')
  t.match(section(markdown, 'Pong'), "type Pong = {\n  type: 'pong'\n  timestamp: string\n}")
  t.match(section(markdown, 'Unsubscribe'), /\| \{\s+sessions\?: never\s+sessionId\?: string\s+type: 'unsubscribe'\s+\}/)
})
