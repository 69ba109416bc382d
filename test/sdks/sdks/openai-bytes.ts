import type { Sdk } from '../scenario.js'
import { openaiChat as wires } from '../wires/openai-chat.js'

/** Lines of JSON, as a server forwards a stream. */
export const openaiBytes: Sdk = {
  name: 'openai-bytes',
  about: 'openai, toReadableStream',
  node: 22,
  wires,
  expected: {
    'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' }
  },
  open: async ({ url, signal }) => {
    const { default: OpenAI } = await import('openai')
    const openai = new OpenAI({ apiKey: 'test', baseURL: `${url}/v1`, maxRetries: 0 })
    const stream = await openai.chat.completions.create({
      model: 'gpt-5-mini', messages: [{ role: 'user', content: 'Hello' }], stream: true, stream_options: { include_usage: true }
    }, { signal })
    return stream.toReadableStream()
  }
}
