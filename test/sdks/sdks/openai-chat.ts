import type { Sdk } from '../scenario.js'
import { openaiChat as wires } from '../wires/openai-chat.js'

export const openaiChat: Sdk = {
  name: 'openai-chat',
  about: 'openai, chat.completions.create',
  node: 22,
  wires,
  expected: {
    // A body that was cut off looks the same as one from a host that sends no finish reason.
    'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' }
  },
  open: async ({ url, signal }) => {
    const { default: OpenAI } = await import('openai')
    const openai = new OpenAI({ apiKey: 'test', baseURL: `${url}/v1`, maxRetries: 0 })
    return openai.chat.completions.create({
      model: 'gpt-5-mini', messages: [{ role: 'user', content: 'Hello' }], stream: true, stream_options: { include_usage: true }
    }, { signal })
  }
}
