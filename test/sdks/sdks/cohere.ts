import { baseline, type Sdk } from '../scenario.js'
import { cohere as wires } from '../wires/cohere.js'

// The provider does not send the total number of tokens.
const usage = { inputTokens: 9, outputTokens: 5 }

export const cohere: Sdk = {
  name: 'cohere',
  about: 'cohere-ai, CohereClientV2.chatStream',
  node: 20,
  wires,
  expected: { happy: { ...baseline.happy, usage }, 'usage-last': { ...baseline['usage-last'], usage } },
  open: async ({ url, signal }) => {
    const { CohereClientV2 } = await import('cohere-ai')
    const cohere = new CohereClientV2({ token: 'test', baseUrl: url, maxRetries: 0 })
    return cohere.chatStream({ model: 'command-a-03-2025', messages: [{ role: 'user', content: 'Hello' }] }, { abortSignal: signal })
  }
}
