import { baseline, type Sdk } from '../scenario.js'
import { mistral as wires } from '../wires/mistral.js'

export const mistral: Sdk = {
  name: 'mistral',
  about: '@mistralai/mistralai, chat.stream',
  node: 20,
  wires,
  expected: {
    // The SDK validates each chunk, and discards an error chunk with its message.
    'error-middle': { status: 'error', text: 'Héllo ', type: 'internal_error', message: /^Invalid input/ },
    // The finish reason comes without a message.
    'run-failed': { ...baseline['run-failed'], message: 'the model\'s provider ended the stream with "error"' }
  },
  open: async ({ url, signal }) => {
    const { Mistral } = await import('@mistralai/mistralai')
    const mistral = new Mistral({ apiKey: 'test', serverURL: url, retryConfig: { strategy: 'none' } })
    return mistral.chat.stream({ model: 'magistral-small-latest', messages: [{ role: 'user', content: 'Hello' }] }, { signal })
  }
}
