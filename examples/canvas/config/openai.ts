/** Reads the language model's settings from the environment. */
export interface OpenAIConfig {
  baseURL?: string
  apiKey: string
  model: string
}

/** Throws if the settings are contradictory or incomplete. Returns `undefined` if there are none. */
export function openAIConfig (env: NodeJS.ProcessEnv): OpenAIConfig | undefined {
  const [baseURL, apiKey, model] = [env.OPENAI_BASE_URL, env.OPENAI_API_KEY, env.OPENAI_MODEL].map(unlessEmpty)
  if (baseURL === undefined && apiKey === undefined) return undefined
  if (model === undefined) throw new Error('OPENAI_MODEL is not set: set it together with OPENAI_BASE_URL or OPENAI_API_KEY')
  if (baseURL !== undefined && !URL.canParse(baseURL)) throw new Error(`OPENAI_BASE_URL is not a URL: set it to one such as http://localhost:11434/v1, not "${baseURL}"`)
  // Ollama and vLLM need no key, but the client requires one.
  return { apiKey: apiKey ?? 'none', model, ...baseURL !== undefined && { baseURL } }
}

/** `OPENAI_API_KEY= npm start` also means no key. */
function unlessEmpty (value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}
