import type { Sdk, Wires } from '../scenario.js'
import { openaiChat } from '../wires/openai-chat.js'

/** Groq sends OpenAI's chunks, with the usage in a separate field next to the finish reason. */
const wires: Wires = {
  ...openaiChat,
  happy: withGroqUsage(openaiChat.happy),
  'usage-last': withGroqUsage(openaiChat['usage-last']),
  refusal: undefined
}

function withGroqUsage (wire: Wires['happy']): Wires['happy'] {
  return wire && {
    ...wire,
    body: wire.body.filter((event) => !event.includes('"usage"'))
      .map((event) => event.replace(/"finish_reason":"stop"\}\]/, '$&,"x_groq":{"id":"req_1","usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}}'))
  }
}

export const groq: Sdk = {
  name: 'groq',
  about: 'groq-sdk, chat.completions.create',
  node: 20,
  wires,
  expected: {
    'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' }
  },
  open: async ({ url, signal }) => {
    const { default: Groq } = await import('groq-sdk')
    const groq = new Groq({ apiKey: 'test', baseURL: url, maxRetries: 0 })
    return groq.chat.completions.create({ model: 'llama-3.3-70b-versatile', messages: [{ role: 'user', content: 'Hello' }], stream: true }, { signal })
  }
}
