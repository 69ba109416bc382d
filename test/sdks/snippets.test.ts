import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { Page } from '../docs/markdown.js'
import { typeErrors } from '../docs/snippets.js'
import { strip } from '../loader/strip.mjs'
import { NOT_MEASURED, RUN_TYPESCRIPT } from '../support/child.js'
import { SDKS } from '../support/real-parts.js'
import { startProvider } from './provider.js'
import type { Wire } from './scenario.js'
import { sdks } from './sdks.js'
import { NODE, whyNot } from './run.js'

// Runs the snippets of lib/jobs/stream-protocols/README.md unchanged, with the real SDKs and a local provider.

/** The SDKs whose wires the snippets below each heading need, in the order of the snippets. */
const wireOf: Readonly<Record<string, readonly string[]>> = {
  OpenAI: ['openai-responses', 'openai-chat'],
  Anthropic: ['anthropic-create'],
  'AI SDK': ['openai-responses'],
  Google: ['google-genai'],
  Mistral: ['mistral'],
  Cohere: ['cohere'],
  Groq: ['groq'],
  Ollama: ['ollama-chat'],
  'LangChain and LangGraph': ['langchain', 'langgraph-messages'],
  'OpenAI Agents SDK': ['openai-responses'],
  Mastra: ['openai-responses'],
  'TanStack AI': ['openai-responses']
}

/** Replaces the package names of a user's installation, because several versions of the AI SDK are installed here. */
const ALIASES: ReadonlyArray<readonly [RegExp, string]> = [[/from 'ai'/, 'from \'ai-7\''], [/from '@ai-sdk\/openai'/, 'from \'ai-sdk-openai-7\'']]

/**
 * The code around a snippet: the app, and the output of the job's outcome. Each request goes to the local provider, whatever the
 * SDK's URL is. The snippet runs twice in one process, so that its SDK is loaded only once: until its end, and with a cancel.
 */
const BEFORE = `
const { fetch } = globalThis
globalThis.fetch = (input, init) => {
  const { pathname, search } = new URL(input.url ?? input)
  const url = process.env.PROVIDER + pathname + search
  return fetch(typeof input === 'string' || input instanceof URL ? url : new Request(url, input), init)
}
const { default: Fastify } = await import('fastify')
const { default: WebSocket } = await import('ws')
const { default: aiCanvasWs } = await import('${new URL('../../lib/index.ts', import.meta.url).href}')
const app = Fastify({ forceCloseConnections: true })
await app.register(aiCanvasWs)
const address = await app.listen({ host: '127.0.0.1', port: 0 })
const runAI = app.wsManager.runAI.bind(app.wsManager)
const prompt = 'Hello'
for (const sessionId of JSON.parse(process.env.SESSIONS)) {
const client = new WebSocket(address.replace('http', 'ws') + '/ws?sessionId=' + sessionId)
await new Promise((resolve) => client.once('open', resolve))
let outcome
app.wsManager.runAI = (id, task, source, options) => outcome = runAI(id, task, source, { ...options, sendText: true, result: (result) => result })
client.on('message', (data) => {
  if (sessionId === 'cancelled' && String(data).includes('"delta"')) app.wsManager.cancelAI(sessionId)
})
`
const AFTER = `
const { status, text, error, result } = await outcome
console.log('OUTCOME ' + JSON.stringify({ status, text, error, finishReason: result?.finishReason }))
}
await app.close()
process.exit()
`

const KEYS = ['OPENAI_API_KEY', 'ANTHROPIC_API_KEY', 'GEMINI_API_KEY', 'GOOGLE_API_KEY', 'MISTRAL_API_KEY', 'CO_API_KEY', 'GROQ_API_KEY']

function aliased (snippet: string): string {
  return ALIASES.reduce((text, [from, to]) => text.replace(from, to), snippet)
}

/** Replaces the imports of a snippet with dynamic ones, which are allowed within a block. */
function dynamic (code: string): string {
  return code.replaceAll(/^import (\w+) from ('[^']+')/gm, 'const { default: $1 } = await import($2)')
    .replaceAll(/^import (\{[^}]+\}) from ('[^']+')/gm, (_, names: string, from: string) => `const ${names.replaceAll(' as ', ': ')} = await import(${from})`)
}

interface Outcome {
  readonly status: string
  readonly text?: string
}

/** Runs a snippet once per session. Returns the outcomes of its jobs, and whether the last job's request is still open. */
async function run (snippet: string, wire: Wire, sessions: readonly string[]): Promise<{ outcomes: Outcome[], requestIsOpen: boolean }> {
  const provider = await startProvider(wire)
  const code = dynamic(await strip(`${BEFORE}\n${aliased(snippet)}\n${AFTER}`))
  const env = {
    ...process.env, ...NOT_MEASURED, ...Object.fromEntries(KEYS.map((key) => [key, 'test'])), PROVIDER: provider.url, SESSIONS: JSON.stringify(sessions), OPENAI_AGENTS_DISABLE_TRACING: '1'
  }
  const { stdout } = await promisify(execFile)(NODE, [...RUN_TYPESCRIPT, '--input-type=module', '--eval', code], { cwd: SDKS, env, timeout: 120_000 })
  const requestIsOpen = provider.open !== undefined && !provider.open.closed
  provider.close()
  const outcomes = [...stdout.matchAll(/^OUTCOME (.*)$/gm)].map(([, outcome]) => JSON.parse(outcome!) as Outcome)
  return { outcomes, requestIsOpen }
}

t.setTimeout(600_000)
const blocks = new Page('lib/jobs/stream-protocols/README.md').blocks('ts')
const counts = new Map<string, number>()

t.test('every snippet holds before the compiler', { skip: whyNot() }, async (t) => {
  t.same(await typeErrors(new Map(blocks.map(({ text, line }) => [`line-${line}`, `${aliased(text)}\ndeclare const prompt: string`])), 'test/sdks'), [])
})

for (const { heading, text, line } of blocks) {
  const at = counts.get(heading) ?? 0
  counts.set(heading, at + 1)
  const name = wireOf[heading]?.[at]
  t.test(`${heading}, line ${line}`, { skip: whyNot() }, async (t) => {
    if (name === undefined) {
      t.equal(heading, 'Any other stream', 'every other snippet names the SDK whose provider it asks')
      t.match((await run(text, { body: [] }, ['whole'])).outcomes, [{ status: 'complete', text: 'Once upon a time' }])
      return
    }
    const { happy, cancel } = sdks.find((sdk) => sdk.name === name)!.wires
    const { outcomes, requestIsOpen } = await run(text, { ...happy!, next: cancel! }, ['whole', 'cancelled'])
    t.match(outcomes, [{ status: 'complete', text: 'Héllo 👋 world' }, { status: 'cancelled' }])
    t.notOk(requestIsOpen, 'the cancel reached the model')
  })
}
