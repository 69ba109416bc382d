import { baseline, type Sdk } from '../scenario.js'
import { ollamaChat as chatWires, ollamaGenerate as generateWires } from '../wires/ollama.js'

// The provider does not send the total number of tokens.
const usage = { inputTokens: 9, outputTokens: 5 }
const expected: Sdk['expected'] = {
  happy: { ...baseline.happy, usage },
  'usage-last': { ...baseline['usage-last'], usage },
  // The provider sends only a message.
  'error-middle': { ...baseline['error-middle'], type: 'internal_error', message: 'The server had an error' }
}

export const ollamaChat: Sdk = {
  name: 'ollama-chat',
  about: 'ollama, chat',
  node: 20,
  wires: chatWires,
  expected,
  // The SDK takes no signal. Its stream has an `abort()`, which the job calls.
  open: async ({ url }) => {
    const { Ollama } = await import('ollama')
    return new Ollama({ host: url }).chat({ model: 'qwen3', messages: [{ role: 'user', content: 'Hello' }], stream: true })
  }
}

export const ollamaGenerate: Sdk = {
  name: 'ollama-generate',
  about: 'ollama, generate',
  node: 20,
  wires: generateWires,
  expected,
  open: async ({ url }) => {
    const { Ollama } = await import('ollama')
    return new Ollama({ host: url }).generate({ model: 'qwen3', prompt: 'Hello', stream: true })
  }
}
