import { baseline, scenarioNames, type Expected, type ScenarioName, type Sdk } from '../scenario.js'
import { openaiChat } from '../wires/openai-chat.js'
import { openaiResponses } from '../wires/openai-responses.js'

type Open = Parameters<Sdk['open']>[0]

/** Returns LangChain's client for an OpenAI model. LangChain has its own format for the Responses API. */
export async function modelOf (url: string, useResponsesApi = false) {
  const { ChatOpenAI } = await import('@langchain/openai')
  return new ChatOpenAI({ model: 'gpt-5-mini', apiKey: 'test', maxRetries: 0, configuration: { baseURL: `${url}/v1` }, useResponsesApi })
}

async function chainOf (url: string) {
  const { StringOutputParser } = await import('@langchain/core/output_parsers')
  const { ChatPromptTemplate } = await import('@langchain/core/prompts')
  return ChatPromptTemplate.fromMessages([['human', '{input}']]).pipe(await modelOf(url)).pipe(new StringOutputParser())
}

/** The expectations for chat completions in LangChain, which loses information whichever way its stream is read. */
export const lost: Partial<Record<ScenarioName, Expected>> = {
  // A body that was cut off looks the same as one from a host that sends no finish reason.
  'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' },
  // LangChain's chunks omit the refusals of chat completions.
  refusal: { status: 'complete', text: '' }
}

export const langchain: Sdk = {
  name: 'langchain',
  about: '@langchain/openai, model.stream',
  node: 20,
  wires: openaiChat,
  expected: { ...lost, refusal: { status: 'complete', text: '', finishReason: 'stop' } },
  open: async ({ url, signal }: Open) => (await modelOf(url)).stream('Hello', { signal })
}

export const langchainResponses: Sdk = {
  name: 'langchain-responses',
  about: '@langchain/openai, model.stream of responses',
  node: 20,
  wires: openaiResponses,
  // LangChain drops the failure event and its message.
  expected: { 'run-failed': { status: 'error', text: 'Héllo ', type: 'incomplete' } },
  open: async ({ url, signal }: Open) => (await modelOf(url, true)).stream('Hello', { signal })
}

export const langchainEvents: Sdk = {
  name: 'langchain-events',
  about: '@langchain/core, chain.streamEvents v2',
  node: 20,
  recorded: ['happy', 'two-choices'],
  wires: openaiChat,
  expected: { ...lost, refusal: { status: 'complete', text: '', finishReason: 'stop' } },
  open: async ({ url, signal }: Open) => (await chainOf(url)).streamEvents({ input: 'Hello' }, { version: 'v2', signal })
}

/** The expectations for strings, which contain nothing but the text. */
const strings = scenarioNames.map((scenario) => {
  const { status, type, message, text } = baseline[scenario]
  return [scenario, { status, text, ...(type !== undefined && { type }), ...(message !== undefined && { message }) }] as const
})

export const langchainParser: Sdk = {
  name: 'langchain-parser',
  about: '@langchain/core, chain.stream with StringOutputParser',
  node: 20,
  wires: openaiChat,
  expected: {
    ...Object.fromEntries(strings) as Sdk['expected'],
    'clean-cut': { status: 'complete', text: 'Héllo ' },
    refusal: { status: 'complete', text: '' },
    // The parser merges both choices into one text.
    'two-choices': { status: 'complete', text: 'SalutHéllo  monde👋 world' }
  },
  open: async ({ url, signal }: Open) => (await chainOf(url)).stream({ input: 'Hello' }, { signal })
}
