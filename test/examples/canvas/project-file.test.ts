import { execFileSync } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import * as projectFile from '../../../examples/canvas/project-file.js'

const { readProjectFile } = projectFile

const rules = { extensions: ['.ts', '.tsx'], maxBytes: 100 }

function project (t: Test): string {
  const dir = t.testdir({
    outside: { 'secret.ts': 'export const secret = 1', '.env': 'KEY=1' },
    root: {
      'a.ts': '\uFEFFexport const a = "ü"',
      'B.TSX': 'export {}',
      src: { 'deep.ts': 'export const deep = 1' },
      'folder.ts': {},
      'big.ts': 'x'.repeat(101),
      'full.ts': 'x'.repeat(100),
      'video.ts': Buffer.from([0x47, 0xff, 0xfe, 0x80]),
      '.env': 'KEY=1',
      link: t.fixture('symlink', '../outside'),
      'within.ts': t.fixture('symlink', 'a.ts'),
      'escapes.ts': t.fixture('symlink', '../outside/secret.ts'),
      'disguised.ts': t.fixture('symlink', '.env'),
      'dangling.ts': t.fixture('symlink', 'nothing.ts'),
      'loop.ts': t.fixture('symlink', 'loop.ts')
    }
  })
  return join(dir, 'root')
}

t.test('a file below the root is read, without its byte order mark', async (t) => {
  const root = project(t)
  t.same(await readProjectFile(root, 'a.ts', rules), { path: 'a.ts', text: 'export const a = "ü"' })
  t.same(await readProjectFile(root, 'src/deep.ts', rules), { path: 'src/deep.ts', text: 'export const deep = 1' })
  t.same(await readProjectFile(root, './src/./deep.ts', rules), { path: 'src/deep.ts', text: 'export const deep = 1' })
  t.match(await readProjectFile(root, 'B.TSX', rules), { path: 'B.TSX' })
  t.match(await readProjectFile(root, 'full.ts', rules), { path: 'full.ts' }, 'a file of exactly the limit')
  t.match(await readProjectFile(root, 'within.ts', rules), { path: 'a.ts' }, 'a link within the project is resolved')
})

t.test('a root that is itself a link works', async (t) => {
  const root = project(t)
  symlinkSync(root, `${root}-link`)
  t.match(await readProjectFile(`${root}-link`, 'a.ts', rules), { path: 'a.ts' })
})

const refused: ReadonlyArray<[path: string, type: string, message: RegExp]> = [
  ['', 'invalid_request_error', /is not a path/],
  ['a\0.ts', 'invalid_request_error', /is not a path/],
  ['/etc/passwd.ts', 'invalid_request_error', /is absolute: give it relative/],
  ['C:\\x.ts', 'invalid_request_error', /is absolute/],
  ['\\\\host\\x.ts', 'invalid_request_error', /is absolute/],
  ['../outside/secret.ts', 'invalid_request_error', /leaves the project with ".."/],
  ['src/../../outside/secret.ts', 'invalid_request_error', /leaves the project/],
  ['src\\..\\a.ts', 'invalid_request_error', /leaves the project/],
  ['.env', 'invalid_request_error', /give a file that ends in \.ts, \.tsx/],
  ['a', 'invalid_request_error', /is not of an accepted type/],
  ['link/secret.ts', 'invalid_request_error', /link that leads out of the project/],
  ['escapes.ts', 'invalid_request_error', /link that leads out of the project/],
  ['disguised.ts', 'invalid_request_error', /is not of an accepted type/],
  ['folder.ts', 'invalid_request_error', /is not a file/],
  ['video.ts', 'invalid_request_error', /is not UTF-8 text/],
  [`${'x'.repeat(300)}.ts`, 'invalid_request_error', /is too long/],
  ['big.ts', 'request_too_large', /has 101 bytes, the limit is 100/],
  ['nothing.ts', 'not_found_error', /does not exist: give a path relative/],
  ['a.ts/b.ts', 'not_found_error', /does not exist/],
  ['dangling.ts', 'not_found_error', /does not exist/],
  ['loop.ts', 'not_found_error', /does not exist/]
]

t.test('a file that may not or can\'t be read gives an error with a type and a fix', async (t) => {
  const root = project(t)
  for (const [path, type, message] of refused) await t.rejects(readProjectFile(root, path, rules), { name: 'AgentError', type, message }, path)
})

t.test('a named pipe is refused without waiting for its writer', async (t) => {
  const root = project(t)
  execFileSync('/usr/bin/mkfifo', [join(root, 'pipe.ts')])
  await t.rejects(readProjectFile(root, 'pipe.ts', rules), { type: 'invalid_request_error', message: /is not a file/ })
})

t.test('a file that the server may not read is a permission error', async (t) => {
  // A mock instead of chmod, which does not prevent root from reading.
  const { readProjectFile } = await t.mockImport<typeof projectFile>('../../../examples/canvas/project-file.js', {
    'node:fs/promises': { ...fs, open: async () => { throw Object.assign(new Error('no'), { code: 'EACCES' }) } }
  })
  await t.rejects(readProjectFile(project(t), 'a.ts', rules), { name: 'AgentError', type: 'permission_error' })
})

t.test('the server\'s own errors are passed on unchanged', async (t) => {
  await t.rejects(readProjectFile(join(t.testdir(), 'no-root'), 'a.ts', rules), { code: 'ENOENT' })
})
