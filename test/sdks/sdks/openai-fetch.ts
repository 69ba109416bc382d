import type { Sdk } from '../scenario.js'
import { openaiChat as wires } from '../wires/openai-chat.js'

/** Server-sent events, without any SDK. */
export const openaiFetch: Sdk = {
  name: 'openai-fetch',
  about: 'fetch of OpenAI\'s API, the response\'s body',
  node: 20,
  // The caller of `fetch` checks the status itself.
  wires: Object.fromEntries(Object.entries(wires).filter(([, wire]) => wire?.status === undefined)),
  expected: {
    'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' }
  },
  open: async ({ url, signal }) => (await fetch(`${url}/v1/chat/completions`, { method: 'POST', body: '{}', signal })).body
}
