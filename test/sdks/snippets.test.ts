import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import t from 'tap'
import { Page } from '../docs/markdown.js'
import { typeErrors } from '../docs/snippets.js'
import { SDKS } from '../support/real-parts.js'
import { startProvider } from './provider.js'
import type { Wire, Wires } from './scenario.js'
import { sdks } from './sdks.js'
import { NODE, whyNot } from './run.js'

// The snippets of lib/jobs/stream-protocols/README.md: as they stand, with the real SDKs, against a local provider.

/** The SDK whose wire each snippet below a heading needs, in their order. */
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

/** As a user's installation has it. Of the AI SDK, several versions are installed here. */
const ALIASES: ReadonlyArray<readonly [RegExp, string]> = [[/from 'ai'/, 'from \'ai-7\''], [/from '@ai-sdk\/openai'/, 'from \'ai-sdk-openai-7\'']]

/** Loaded before any SDK: each request goes to the local provider, whatever the SDK's address is. */
const REDIRECT = `
const { fetch } = globalThis
globalThis.fetch = (input, init) => {
  const { pathname, search } = new URL(input.url ?? input)
  const url = process.env.PROVIDER + pathname + search
  return fetch(typeof input === 'string' || input instanceof URL ? url : new Request(url, input), init)
}
`

/** What is around a snippet: the app, and how its job ended. */
const BEFORE = `
import Fastify from 'fastify'
import WebSocket from 'ws'
import aiCanvasWs from '${new URL('../../lib/index.ts', import.meta.url).href}'
const app = Fastify()
await app.register(aiCanvasWs)
const address = await app.listen({ host: '127.0.0.1', port: 0 })
const client = new WebSocket(address.replace('http', 'ws') + '/ws?sessionId=s')
await new Promise((resolve) => client.once('open', resolve))
const [sessionId, prompt] = ['s', 'Hello']
let outcome
const runAI = app.wsManager.runAI.bind(app.wsManager)
app.wsManager.runAI = (id, task, source, options) => outcome = runAI(id, task, source, { ...options, sendText: true, result: (result) => result })
client.on('message', (data) => {
  if (process.env.CANCEL && String(data).includes('"delta"')) app.wsManager.cancelAI(sessionId)
})
`
const AFTER = `
const { status, text, error, result } = await outcome
console.log('OUTCOME ' + JSON.stringify({ status, text, error, finishReason: result?.finishReason }))
await app.close()
process.exit()
`

const KEYS = ['OPENAI_API_KEY', 'ANTHROPIC_API_KEY', 'GEMINI_API_KEY', 'GOOGLE_API_KEY', 'MISTRAL_API_KEY', 'CO_API_KEY', 'GROQ_API_KEY']

function aliased (snippet: string): string {
  return ALIASES.reduce((text, [from, to]) => text.replace(from, to), snippet)
}

/** Runs a snippet, and returns how its job ended. */
async function run (snippet: string, wire: Wire, isCancelled: boolean): Promise<{ status: string, requestIsOpen: boolean }> {
  const provider = await startProvider(wire)
  // Its imports come first in a module.
  const { code } = await transform(`${BEFORE}\n${aliased(snippet)}\n${AFTER}`, { loader: 'ts', format: 'esm' })
  const env = {
    ...process.env, ...Object.fromEntries(KEYS.map((key) => [key, 'test'])), PROVIDER: provider.url, OPENAI_AGENTS_DISABLE_TRACING: '1', ...(isCancelled && { CANCEL: '1' })
  }
  const args = [`--import=data:text/javascript,${encodeURIComponent(REDIRECT)}`, '--import=tsx', '--input-type=module', '--eval', code]
  const { stdout } = await promisify(execFile)(NODE, args, { cwd: SDKS, env, timeout: 120_000 })
  const requestIsOpen = provider.open !== undefined && !provider.open.closed
  provider.close()
  const outcome = /^OUTCOME (.*)$/m.exec(stdout)?.[1] ?? '{}'
  return { ...JSON.parse(outcome) as { status: string }, requestIsOpen }
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
      t.match(await run(text, { body: [] }, false), { status: 'complete', text: 'Once upon a time' })
      return
    }
    const wires: Wires = sdks.find((sdk) => sdk.name === name)!.wires
    t.match(await run(text, wires.happy!, false), { status: 'complete', text: 'Héllo 👋 world' })
    t.match(await run(text, wires.cancel!, true), { status: 'cancelled', requestIsOpen: false }, 'and a cancel reaches the model')
  })
}
