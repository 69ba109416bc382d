import type { Sdk } from '../scenario.js'
import { openaiChat } from '../wires/openai-chat.js'

/** The SDK never requests two choices, and would mix them. */
const { 'two-choices': _, ...wires } = openaiChat

export const tanstackAi: Sdk = {
  name: 'tanstack-ai',
  about: '@tanstack/ai, chat()',
  node: 20,
  wires,
  expected: {
    // The SDK reports "stop" if the provider sent no reason, and hides the refusal.
    'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'stop' },
    refusal: { status: 'complete', text: '', finishReason: 'stop' }
  },
  open: async ({ url, signal }) => {
    const { chat } = await import('@tanstack/ai')
    const { createOpenaiChatCompletions } = await import('@tanstack/ai-openai')
    // The SDK takes a controller instead of a signal.
    const abortController = new AbortController()
    signal.addEventListener('abort', () => { abortController.abort(signal.reason) })
    return chat({
      adapter: createOpenaiChatCompletions('gpt-5-mini', 'test', { baseURL: `${url}/v1`, maxRetries: 0 }),
      messages: [{ role: 'user', content: 'Hello' }],
      abortController,
      // By default the SDK writes errors to the console.
      debug: false
    })
  }
}
