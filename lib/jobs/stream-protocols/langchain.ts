import { addUsage, isMessage, modelMessageOf, readMessage } from './langchain-message.js'
import type { StreamProtocol } from './protocol.js'

/**
 * What `.stream()` of LangChain's models emits: chunks of a model's message. A chain that ends with a parser emits what the
 * parser makes of them, such as strings. https://docs.langchain.com/oss/javascript/langchain/models#stream
 */
export const langChain: StreamProtocol = {
  name: 'LangChain',
  recognises: (chunk) => modelMessageOf(chunk) !== undefined,
  open: (report) => {
    // There is no last chunk, except in a stream of OpenAI responses.
    report.complete()
    return (chunk) => {
      const message = modelMessageOf(chunk)
      if (message === undefined) return isMessage(chunk) ? '' : undefined
      addUsage(message, report)
      return readMessage(message, report)
    }
  },
  missingEnd: 'incomplete'
}
