import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { documentAgent } from '../../../examples/canvas/agents/document.js'

// In each test, a process loads the compiler, which takes long on a busy machine
t.setTimeout(300_000)

async function document (root: string, targetFile: string | undefined, signal = new AbortController().signal): Promise<string[]> {
  const pieces: string[] = []
  const task = { mode: 'document', ...targetFile !== undefined && { targetFile } }
  for await (const piece of documentAgent({ root }).write(task, { signal })) pieces.push(piece)
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
  t.equal(pieces.length, 4)
  t.equal(pieces[0], '# `src/huge.ts`\n')
  t.equal(pieces[1], '\n- [`text`](#text)\n- [`last`](#last): The last.\n')
  t.match(pieces[2], 'é'.repeat(300_000))
  t.equal(pieces[3], '\n## `last`\n\n*function*\n\n```ts\nfunction last(): string\n```\n\nThe last.\n')
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
    for await (const piece of documentAgent({ root: project(t) }).write({ mode: 'document', targetFile: 'src/a.ts' }, { signal: controller.signal })) {
      if (piece.startsWith('\n')) controller.abort()
    }
  }, { name: 'AbortError' })
})

t.test('a reader that leaves ends the process, too', async (t) => {
  for await (const piece of documentAgent({ root: project(t) }).write({ mode: 'document', targetFile: 'src/a.ts' }, { signal: new AbortController().signal })) {
    if (piece.startsWith('\n')) break
  }
})

t.test('an agent that is warmed up keeps one process for many jobs, and has another one where that was ended', async (t) => {
  const root = project(t)
  const agent = documentAgent({ root })
  t.teardown(() => { agent.close() })
  await agent.warmUp('src/a.ts')
  const { signal } = new AbortController()
  const write = async (): Promise<string> => {
    let text = ''
    for await (const piece of agent.write({ mode: 'document', targetFile: 'src/a.ts' }, { signal })) text += piece
    return text
  }
  const expected = '# `src/a.ts`\n\n## `one`\n\n*constant*\n\n```ts\nconst one = 1\n```\n'
  t.equal(await write(), expected)
  t.same(await Promise.all([write(), write(), write()]), [expected, expected, expected], 'also at the same time')
  for await (const piece of agent.write({ mode: 'document', targetFile: 'src/huge.ts' }, { signal })) {
    if (piece.startsWith('\n')) break
  }
  t.equal(await write(), expected)
  await t.rejects(agent.warmUp('src/none.ts'), { name: 'AgentError', type: 'not_found_error' })
})

t.test('a file that was changed is documented as it is now', async (t) => {
  const root = project(t)
  const agent = documentAgent({ root })
  t.teardown(() => { agent.close() })
  await agent.warmUp('src/a.ts')
  writeFileSync(join(root, 'src/a.ts'), 'export const two = 2')
  let text = ''
  for await (const piece of agent.write({ mode: 'document', targetFile: 'src/a.ts' }, { signal: new AbortController().signal })) text += piece
  t.match(text, 'const two = 2')
  t.notMatch(text, 'one')
})
