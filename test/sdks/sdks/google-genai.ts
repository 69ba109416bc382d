import { baseline, type Sdk } from '../scenario.js'
import { googleGenai as wires } from '../wires/google-genai.js'

export const googleGenai: Sdk = {
  name: 'google-genai',
  about: '@google/genai, models.generateContentStream',
  node: 20,
  wires,
  expected: {
    // The SDK drops the text of `finishMessage`.
    'run-failed': { ...baseline['run-failed'], message: 'the model\'s provider ended the stream with "MALFORMED_FUNCTION_CALL"' }
  },
  open: async ({ url, signal }) => {
    const { GoogleGenAI } = await import('@google/genai')
    const google = new GoogleGenAI({ apiKey: 'test', httpOptions: { baseUrl: url } })
    return google.models.generateContentStream({ model: 'gemini-2.5-flash', contents: 'Hello', config: { abortSignal: signal } })
  }
}
