import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { FunctionComponent } from 'react'
import t from 'tap'
import ts from 'typescript'
import { page } from './dom.js'

const { act, cleanup, createElement, fireEvent, render } = await import('./kit.js')
// The path is not a literal, because the examples declare names that they don't use, which the compiler options forbid.
const examples = './documented.js'
const { AIComponent, Debugging, MyComponent, Reconnecting, Summary } =
  await import(examples) as Record<'AIComponent' | 'Debugging' | 'MyComponent' | 'Reconnecting' | 'Summary', FunctionComponent<{ sessionId?: string }>>

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8')
const logged: unknown[][] = []
t.before(() => {
  for (const method of ['log', 'error'] as const) t.intercept(console, method, { value: (...args: unknown[]) => { logged.push(args) } })
})
t.afterEach(async () => {
  cleanup()
  await sleep(5)
  logged.length = 0
})

t.test('the file contains every React example of the document verbatim', async (t) => {
  const blocks = [...read('../support/platform-docs.md').matchAll(/```typescript\n([^`]*?)```/g)].map(([, text]) => text!)
  // One example also shows the server's side.
  const examples = blocks.filter((text) => /use(?:AI)?WebSocket\(/.test(text)).map((text) => text.replace(/\n\/\/ Backend\n[^]*/, ''))
  t.equal(examples.length, 5)
  const file = read('documented.tsx')
  for (const text of examples) t.ok(file.includes(text.replace(/import .* from '@\/hooks\/use-websocket';\n\n/, '')), text)
})

t.test('the file passes the compiler', async (t) => {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path)) as { config: unknown }
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const program = ts.createProgram([`${root}test/react/documented.tsx`], { ...options, noUnusedLocals: false })
  const file = program.getSourceFile(`${root}test/react/documented.tsx`)
  t.same(program.getSemanticDiagnostics(file).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' ')), [])
})

t.test('useWebSocket works as documented', async (t) => {
  const { container, getByText } = render(createElement(MyComponent))
  t.match(container.textContent, 'Status: Disconnected')
  await act(async () => { page.socket.admit() })
  t.match(container.textContent, 'Status: Connected')
  fireEvent.click(getByText('Ping Server'))
  t.equal(page.socket.types.at(-1), 'ping')
  await act(async () => { page.socket.say({ type: 'pong', timestamp: 't' }) })
  t.match(logged.at(-1), ['Received:', { type: 'pong' }])
})

t.test('useAIWebSocket works as documented', async (t) => {
  const { container } = render(createElement(AIComponent))
  t.equal(container.textContent, 'Connection: ✗AI Status: idle')
  await act(async () => {
    page.socket.admit()
    page.socket.say(
      { type: 'subscribed', sessionId: 'my_session', epoch: 'e', seq: 0 },
      { type: 'ai_start', sessionId: 'my_session', task: {}, timestamp: 't', seq: 1 },
      { type: 'ai_progress', sessionId: 'my_session', progress: { chunksReceived: 25, contentLength: 1250 }, timestamp: 't' }
    )
  })
  t.equal(container.textContent, 'Connection: ✓AI Status: processingProgress: 25 chunks')
  await act(async () => { page.socket.say({ type: 'ai_complete', sessionId: 'my_session', result: { chunks: 100 }, timestamp: 't', seq: 2 }) })
  t.match(container.textContent, 'AI Status: complete')
  t.match(container.textContent, 'Result: {"chunks":100}')
  t.match(logged.at(-1), ['AI completed:', { chunks: 100 }])
  await act(async () => {
    page.socket.say({ type: 'ai_start', sessionId: 'my_session', task: {}, timestamp: 't', seq: 3 })
    page.socket.say({ type: 'ai_error', sessionId: 'my_session', error: { message: 'Rate limit exceeded', type: 'rate_limit_error' }, timestamp: 't', seq: 4 })
  })
  t.equal(container.querySelector('.error')?.textContent, 'Rate limit exceeded')
})

t.test('the documented options and callbacks work', async (t) => {
  const { container } = render(createElement('div', null, createElement(Reconnecting), createElement(Debugging)))
  await act(async () => { page.socket.admit() })
  t.equal(container.textContent, 'truetrue')
  await act(async () => {
    page.socket.say({ type: 'error', code: 'unknown_type', message: 'm', timestamp: 't' })
    page.socket.end(1000)
  })
  t.same(logged.map(([text]) => text), ['[WS] Message:', '[WS] Connected', '[WS] Message:', '[WS] Error:', '[WS] Disconnected'])
})

t.test('the example in the summary works', async (t) => {
  const { container } = render(createElement(Summary, { sessionId: 'summed_up' }))
  await act(async () => {
    page.socket.admit()
    page.socket.say(
      { type: 'subscribed', sessionId: 'summed_up', epoch: 'e', seq: 0 },
      { type: 'ai_complete', sessionId: 'summed_up', result: { chunks: 100 }, timestamp: 't', seq: 1 }
    )
  })
  t.equal(container.textContent, 'complete 100')
})
