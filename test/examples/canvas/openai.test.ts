import t, { type Test } from 'tap'
import { agentChooser } from '../../../examples/canvas/agents/choose.js'
import type { AgentTask } from '../../../examples/canvas/agents/agent.js'
import { documentAgent } from '../../../examples/canvas/agents/document.js'
import { openAIAgent } from '../../../examples/canvas/agents/openai.js'
import { DONE, begin, data, event, openAIServer, refused, streamed, type Answer, type OpenAIServer } from '../support/openai-server.js'

interface Run {
  server: OpenAIServer
  pieces: string[]
  /** Resolves with the whole text. */
  text: Promise<string>
}

interface RunOptions {
  task?: Partial<AgentTask>
  signal?: AbortSignal
  maxRetries?: number
  root?: string
  onPiece?: () => void
}

async function run (t: Test, answers: Answer[], { task, signal = new AbortController().signal, maxRetries = 0, root = '/nowhere', onPiece }: RunOptions = {}): Promise<Run> {
  const server = await openAIServer(t, ...answers)
  const agent = openAIAgent({ root, baseURL: server.baseURL, apiKey: 'test-key', model: 'test-model', maxRetries })
  const pieces: string[] = []
  const collect = async (): Promise<string> => {
    for await (const piece of agent({ mode: 'generate', prompt: 'Create a component', ...task }, { signal })) {
      pieces.push(piece)
      onPiece?.()
    }
    return pieces.join('')
  }
  const text = collect()
  text.catch(() => undefined)
  return { server, pieces, text }
}

t.test('the prompt and the mode are sent to the model, and its text is streamed', async (t) => {
  const { server, pieces, text } = await run(t, [streamed(['Hel', 'lo', '!'])])
  t.equal(await text, 'Hello!')
  t.same(pieces, ['Hel', 'lo', '!'])
  t.match(server.calls, [{
    url: 'POST /v1/chat/completions',
    authorization: 'Bearer test-key',
    body: { model: 'test-model', stream: true, messages: [{ role: 'system', content: /of the kind "generate"/ }, { role: 'user', content: 'Create a component' }] }
  }])
})

t.test('events and characters that are split anywhere arrive whole', async (t) => {
  const texts = ['Gru\u0308ße ', '👩‍👩‍👧', ' 𝒳', '\n\n', 'data: [DONE]', '漢字']
  const { text, pieces } = await run(t, [streamed(texts, { bytesPerWrite: 1 })])
  t.equal(await text, texts.join(''))
  t.same(pieces, texts)
})

t.test('an existing target file is sent along; a missing one is to be written', async (t) => {
  const root = t.testdir({ 'button.tsx': 'export const Button = null', '.env': 'KEY=1' })
  const known = await run(t, [streamed(['ok'])], { root, task: { targetFile: 'button.tsx' } })
  await known.text
  t.match(known.server.calls[0]?.body.messages, [
    { role: 'system', content: /becomes the content of the file button\.tsx/ },
    { role: 'user', content: /^The file button\.tsx as it is now:\n\nexport const Button = null$/ },
    { role: 'user', content: 'Create a component' }
  ])
  const fresh = await run(t, [streamed(['ok'])], { root, task: { targetFile: 'new.tsx' } })
  await fresh.text
  t.match(fresh.server.calls[0]?.body.messages, [{ content: /becomes the content of the file new\.tsx/ }, { content: 'Create a component' }])
  t.equal(fresh.server.calls[0]?.body.messages.length, 2)
})

t.test('a file that must not be read never leaves the machine', async (t) => {
  const root = t.testdir({ '.env': 'KEY=1', 'link.ts': t.fixture('symlink', '.env'), 'big.ts': 'x'.repeat(200_000) })
  const types = { '.env': 'invalid_request_error', '../x.ts': 'invalid_request_error', 'link.ts': 'invalid_request_error', 'big.ts': 'request_too_large' }
  for (const [targetFile, type] of Object.entries(types)) {
    const { text, server } = await run(t, [streamed(['ok'])], { root, task: { targetFile } })
    await t.rejects(text, { name: 'AgentError', type }, targetFile)
    t.same(server.calls, [])
  }
})

t.test('a request without a prompt is refused', async (t) => {
  for (const prompt of ['', ' \n']) {
    const { text } = await run(t, [streamed(['ok'])], { task: { prompt } })
    await t.rejects(text, { type: 'invalid_request_error', message: 'mode "generate" needs a prompt: say what the model should write' })
  }
})

t.test('the service\'s own error is passed on with its status', async (t) => {
  const limited = await run(t, [refused(429, { message: 'Rate limit reached for requests', type: 'requests', code: 'rate_limit_exceeded' })])
  await t.rejects(limited.text, { status: 429, message: /Rate limit reached for requests/ })
  const unauthorized = await run(t, [refused(401, { message: 'Incorrect API key provided', type: 'invalid_request_error' })])
  await t.rejects(unauthorized.text, { status: 401, message: /Incorrect API key/ })
  const broken = await run(t, [refused(500, { message: 'The server had an error' })])
  await t.rejects(broken.text, { status: 500, message: /The server had an error/ })
  t.equal(broken.server.calls.length, 1)
})

t.test('a request that was refused because of load is retried as often as configured', async (t) => {
  const busy = refused(429, { message: 'busy' }, { 'retry-after-ms': '1' })
  const { server, text } = await run(t, [busy, refused(503, { message: 'down' }, { 'retry-after-ms': '1' }), streamed(['at last'])], { maxRetries: 2 })
  t.equal(await text, 'at last')
  t.equal(server.calls.length, 3)
  const never = await run(t, [busy], { maxRetries: 1 })
  await t.rejects(never.text, { status: 429, message: /busy/ })
  t.equal(never.server.calls.length, 2)
})

t.test('an error in the middle of a stream is an error, and is not retried', async (t) => {
  const fails = (error: unknown): Answer => (response) => {
    begin(response)
    response.end(event('half of ') + data({ error }))
  }
  const typed = await run(t, [fails({ message: 'The engine is overloaded', type: 'overloaded_error' })], { maxRetries: 2 })
  await t.rejects(typed.text, { type: 'overloaded_error', message: 'The engine is overloaded' })
  t.same(typed.pieces, ['half of '])
  t.equal(typed.server.calls.length, 1)
  const bare = await run(t, [fails({ message: 'no idea' })])
  await t.rejects(bare.text, { name: 'AgentError', type: 'api_error', message: 'no idea' })
})

t.test('a connection that breaks in the middle of the answer is an error', async (t) => {
  const { text, pieces } = await run(t, [(response) => {
    begin(response)
    response.write(event('half of '), () => { response.destroy() })
  }])
  await t.rejects(text, { name: 'AgentError', type: 'connection_error', message: /broke in the middle of the answer: try again/ })
  t.same(pieces, ['half of '])
})

t.test('so is an answer that stops between two events', async (t) => {
  for (const tail of ['', DONE]) {
    const { text } = await run(t, [(response) => {
      begin(response)
      response.end(event('half of ') + tail)
    }])
    await t.rejects(text, { name: 'AgentError', type: 'connection_error', message: /was cut off: try again/ })
  }
})

t.test('an incomplete or empty answer is reported with its reason', async (t) => {
  const cases: ReadonlyArray<[Answer, string, RegExp]> = [
    [streamed(['as much as'], { finishReason: 'length' }), 'output_too_large', /token limit/],
    [streamed(['I will'], { finishReason: 'content_filter' }), 'content_filter', /content filter/],
    [streamed([]), 'api_error', /has no text/],
    [(response) => { begin(response); response.end('data: {"broken\n\n') }, 'api_error', /isn't JSON/]
  ]
  for (const [answer, type, message] of cases) {
    const { text } = await run(t, [answer])
    await t.rejects(text, { name: 'AgentError', type, message })
  }
})

t.test('events without a choice, which some services send, are skipped', async (t) => {
  const { text } = await run(t, [(response) => {
    begin(response)
    response.end(': keep-alive\n\n' + event('ok') + event(undefined, 'stop') + data({ choices: [], usage: { total_tokens: 3 } }) + DONE)
  }])
  t.equal(await text, 'ok')
})

t.test('the error for an unreachable service names it and says what to check', async (t) => {
  const agent = openAIAgent({ root: '/nowhere', baseURL: 'http://127.0.0.1:1/v1', apiKey: 'none', model: 'm', maxRetries: 0 })
  const stream = agent({ mode: 'generate', prompt: 'x' }, { signal: new AbortController().signal })
  await t.rejects(stream[Symbol.asyncIterator]().next(), {
    type: 'connection_error', message: "127.0.0.1:1 can't be reached: check that it runs and that OPENAI_BASE_URL is correct"
  })
})

t.test('an abort while the model writes ends the request, and is not a complete answer', async (t) => {
  const controller = new AbortController()
  const { server, text, pieces } = await run(t, [(response) => {
    begin(response)
    response.write(event('once upon '))
  }], { signal: controller.signal, onPiece: () => { controller.abort(new Error('enough')) } })
  await t.rejects(text, new Error('enough'))
  t.same(pieces, ['once upon '])
  await server.calls[0]?.aborted
})

t.test('an abort before the model\'s first output ends the request', async (t) => {
  const controller = new AbortController()
  const { server, text } = await run(t, [() => { controller.abort() }], { signal: controller.signal, maxRetries: 2 })
  await t.rejects(text)
  await server.calls[0]?.aborted
  t.equal(server.calls.length, 1)
})

t.test('the error of a server without a language model says what to set', async (t) => {
  const document = documentAgent({ root: '/nowhere' })
  const choose = agentChooser({ root: '/nowhere' }, document)
  t.throws(() => choose({ mode: 'generate', prompt: 'x' }), { type: 'not_configured', message: /OPENAI_MODEL and OPENAI_BASE_URL .* or OPENAI_API_KEY/ })
  t.throws(() => choose({ mode: 'document' }), { type: 'invalid_request_error', message: /needs a targetFile/ })
  t.throws(() => choose({ mode: 'document', targetFile: '/etc/passwd' }), { name: 'AgentError', type: 'invalid_request_error' })
  t.type(choose({ mode: 'document', targetFile: 'a.ts' }), 'function')
  const both = agentChooser({ root: '/nowhere', openai: { apiKey: 'none', model: 'm' } }, document)
  t.throws(() => both({ mode: 'generate' }), { type: 'invalid_request_error', message: /needs a prompt/ })
  t.throws(() => both({ mode: 'generate', prompt: 'x', targetFile: '.env' }), { name: 'AgentError', type: 'invalid_request_error' })
  t.type(both({ mode: 'anything', prompt: 'x' }), 'function')
})
