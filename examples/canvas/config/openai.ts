/** Where the language model is, as the environment says. */
export interface OpenAIConfig {
  baseURL?: string
  apiKey: string
  model: string
}

/** Throws when the settings contradict or don't suffice; answers `undefined` when there are none. */
export function openAIConfig (env: NodeJS.ProcessEnv): OpenAIConfig | undefined {
  const [baseURL, apiKey, model] = [env.OPENAI_BASE_URL, env.OPENAI_API_KEY, env.OPENAI_MODEL].map(unlessEmpty)
  if (baseURL === undefined && apiKey === undefined) return undefined
  if (model === undefined) throw new Error('OPENAI_MODEL is not set: name the model to use beside OPENAI_BASE_URL or OPENAI_API_KEY')
  if (baseURL !== undefined && !URL.canParse(baseURL)) throw new Error(`OPENAI_BASE_URL is no URL: set it to one such as http://localhost:11434/v1, not "${baseURL}"`)
  // Ollama and vLLM ask for no key, but the client wants one
  return { apiKey: apiKey ?? 'none', model, ...baseURL !== undefined && { baseURL } }
}

/** `OPENAI_API_KEY= npm start` means none, too. */
function unlessEmpty (value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}
