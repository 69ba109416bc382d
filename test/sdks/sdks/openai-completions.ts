import type { Sdk } from '../scenario.js'
import { openaiCompletions as wires } from '../wires/openai-completions.js'

export const openaiCompletions: Sdk = {
  name: 'openai-completions',
  about: 'openai, completions.create',
  node: 22,
  wires,
  expected: {
    // A body that was cut off looks the same as one from a host that sends no finish reason.
    'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' }
  },
  open: async ({ url, signal }) => {
    const { default: OpenAI } = await import('openai')
    const openai = new OpenAI({ apiKey: 'test', baseURL: `${url}/v1`, maxRetries: 0 })
    return openai.completions.create({ model: 'gpt-3.5-turbo-instruct', prompt: 'Hello', stream: true, stream_options: { include_usage: true } }, { signal })
  }
}
