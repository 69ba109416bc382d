import type { Sdk } from '../scenario.js'
import { openaiChat } from '../wires/openai-chat.js'

/** The SDK never requests two choices, and would mix them. */
const { 'two-choices': _, ...wires } = openaiChat

export const mastra: Sdk = {
  name: 'mastra',
  about: '@mastra/core, agent.stream()',
  node: 22,
  wires,
  expected: {
    // The AI SDK, which Mastra uses, reports the reason "other", without a reason of the provider.
    'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' }
  },
  open: async ({ url, signal }) => {
    const { Agent } = await import('@mastra/core/agent')
    const { Mastra } = await import('@mastra/core/mastra')
    const { createOpenAI } = await import('ai-sdk-openai-6')
    const openai = createOpenAI({ apiKey: 'test', baseURL: `${url}/v1` })
    const agent = new Agent({ id: 'writer', name: 'Writer', instructions: 'Write.', model: openai.chat('gpt-5-mini'), maxRetries: 0 })
    // By default Mastra writes errors to the console.
    new Mastra({ agents: { agent }, logger: false })
    // Otherwise Mastra calls the model again if the model calls an unknown tool or gives no finish reason.
    return agent.stream('Hello', { abortSignal: signal, maxSteps: 1 })
  }
}
