import type { Anthropic } from '@anthropic-ai/sdk'
import { baseline, type Sdk } from '../scenario.js'
import { anthropicMessages as wires } from '../wires/anthropic-messages.js'

async function clientOf (baseURL: string): Promise<Anthropic> {
  const { Anthropic } = await import('@anthropic-ai/sdk')
  return new Anthropic({ apiKey: 'test', baseURL, maxRetries: 0 })
}

const request = { model: 'claude-sonnet-5-5', max_tokens: 100, messages: [{ role: 'user' as const, content: 'Hello' }] }

// The provider does not send the total number of tokens.
const usage = { inputTokens: 9, outputTokens: 5 }
const expected: Sdk['expected'] = { happy: { ...baseline.happy, usage }, 'usage-last': { ...baseline['usage-last'], usage } }

export const anthropicCreate: Sdk = {
  name: 'anthropic-create',
  about: '@anthropic-ai/sdk, messages.create',
  node: 20,
  wires,
  expected,
  open: async ({ url, signal }) => (await clientOf(url)).messages.create({ ...request, stream: true }, { signal })
}

export const anthropicStream: Sdk = {
  name: 'anthropic-stream',
  about: '@anthropic-ai/sdk, messages.stream',
  node: 20,
  wires,
  expected,
  open: async ({ url, signal }) => (await clientOf(url)).messages.stream(request, { signal })
}
