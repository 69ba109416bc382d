import type { Expected, ScenarioName, Sdk } from '../scenario.js'
import { openaiChat, toolLoop as chatLoop } from '../wires/openai-chat.js'
import { openaiResponses, toolLoop as responsesLoop } from '../wires/openai-responses.js'

type Open = Parameters<Sdk['open']>[0]

async function runAgent ({ url, signal, scenario }: Open, api: 'chat' | 'responses') {
  const { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool } = await import('@openai/agents')
  const { default: OpenAI } = await import('openai')
  setTracingDisabled(true)
  const client = new OpenAI({ apiKey: 'test', baseURL: `${url}/v1`, maxRetries: 0 }) as never
  const model = api === 'chat' ? new OpenAIChatCompletionsModel(client, 'gpt-5-mini') : new OpenAIResponsesModel(client, 'gpt-5-mini')
  const find = tool({ name: 'find', description: 'Finds something', parameters: { type: 'object', properties: {}, required: [], additionalProperties: true }, strict: false, execute: () => 'found' })
  return run(new Agent({ name: 'Greeter', model, tools: [find], toolUseBehavior: scenario === 'tool-loop' ? 'run_llm_again' : 'stop_on_first_tool' }), 'Hello', {
    stream: true, signal, maxTurns: scenario === 'tool-loop' ? 2 : 1
  })
}

const failures: Partial<Record<ScenarioName, Expected>> = {
  // The SDK does not consider a refusal an output, and throws.
  refusal: { status: 'error', text: 'I can\'t help with that.', type: 'content_filter', message: 'Model refused to produce output: I can\'t help with that.' },
  // Without output, the SDK calls the model again until all turns are used.
  empty: { status: 'error', text: '', type: 'incomplete', message: 'Max turns (1) exceeded' }
}

export const openaiAgentsChat: Sdk = {
  name: 'openai-agents-chat',
  about: '@openai/agents, run with chat completions',
  node: 22,
  recorded: ['happy', 'clean-cut', 'refusal', 'two-choices', 'tool-loop'],
  wires: { ...openaiChat, 'tool-loop': chatLoop },
  expected: {
    ...failures,
    // A body that was cut off looks the same as one from a host that sends no finish reason.
    'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' }
  },
  open: (options) => runAgent(options, 'chat')
}

export const openaiAgentsResponses: Sdk = {
  name: 'openai-agents-responses',
  about: '@openai/agents, run with responses',
  node: 22,
  recorded: ['happy', 'run-failed', 'refusal', 'tool-loop'],
  wires: { ...openaiResponses, 'tool-loop': responsesLoop },
  // The SDK throws for every incomplete response.
  expected: { ...failures, length: { status: 'error', text: 'Héllo ', type: 'incomplete' }, 'content-filter': { status: 'error', text: 'Héllo ', type: 'incomplete' } },
  open: (options) => runAgent(options, 'responses')
}
