import { join } from 'node:path'
import t, { type Test } from 'tap'
import { documentAgent } from '../../../examples/canvas/agents/document.js'

async function document (root: string, targetFile: string | undefined, signal = new AbortController().signal): Promise<string[]> {
  const pieces: string[] = []
  const task = { mode: 'document', ...targetFile !== undefined && { targetFile } }
  for await (const piece of documentAgent({ root })(task, { signal })) pieces.push(piece)
  return pieces
}

function project (t: Test): string {
  return t.testdir({
    'tsconfig.json': '{ "compilerOptions": { "lib": ["es2022"] } }',
    src: {
      'a.ts': 'export const one = 1',
      'huge.ts': `export const text = "${'é'.repeat(300_000)}"\n/** The last. */\nexport function last () { return text }`
    },
    'broken.ts': 'export const = 1'
  })
}

t.test('a file is documented by a process of its own, piece by piece, also when a piece is larger than a pipe', async (t) => {
  const pieces = await document(project(t), 'src/huge.ts')
  t.equal(pieces.length, 3)
  t.match(pieces[0], '# `src/huge.ts`\n\n- [`text`](#text)\n- [`last`](#last): The last.\n')
  t.match(pieces[1], 'é'.repeat(300_000))
  t.equal(pieces[2], '\n## `last`\n\n*function*\n\n```ts\nfunction last(): string\n```\n\nThe last.\n')
})

t.test('what can\'t be documented is told by a type and a way out', async (t) => {
  const root = project(t)
  await t.rejects(document(root, undefined), { type: 'invalid_request_error', message: /needs a targetFile: give the path/ })
  await t.rejects(document(root, 'src/b.ts'), { name: 'AgentError', type: 'not_found_error' })
  await t.rejects(document(root, '../a.ts'), { name: 'AgentError', type: 'invalid_request_error' })
  await t.rejects(document(root, 'broken.ts'), { type: 'invalid_request_error', message: /^broken\.ts:1: / })
  await t.rejects(document(join(root, 'none'), 'a.ts'), { code: 'ENOENT' })
})

t.test('an abort ends the process at once', async (t) => {
  await t.rejects(document(project(t), 'src/a.ts', AbortSignal.abort()), { name: 'AbortError' })
  const controller = new AbortController()
  await t.rejects(async () => {
    for await (const piece of documentAgent({ root: project(t) })({ mode: 'document', targetFile: 'src/a.ts' }, { signal: controller.signal })) {
      t.match(piece, '# `src/a.ts`')
      controller.abort()
    }
  }, { name: 'AbortError' })
})

t.test('a reader that leaves ends the process, too', async (t) => {
  for await (const piece of documentAgent({ root: project(t) })({ mode: 'document', targetFile: 'src/a.ts' }, { signal: new AbortController().signal })) {
    t.match(piece, '# `src/a.ts`')
    break
  }
})
