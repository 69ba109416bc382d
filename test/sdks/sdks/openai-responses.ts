import type { Sdk } from '../scenario.js'
import { openaiResponses as wires } from '../wires/openai-responses.js'

export const openaiResponses: Sdk = {
  name: 'openai-responses',
  about: 'openai, responses.create',
  node: 22,
  wires,
  open: async ({ url, signal }) => {
    const { default: OpenAI } = await import('openai')
    const openai = new OpenAI({ apiKey: 'test', baseURL: `${url}/v1`, maxRetries: 0 })
    return openai.responses.create({ model: 'gpt-5-mini', input: 'Hello', stream: true }, { signal })
  }
}
