import { addUsage, isMessage, modelMessageOf, readMessage } from './langchain-message.js'
import type { StreamProtocol } from './protocol.js'

/**
 * The output of `.stream()` of LangChain's models: chunks of a message. A chain that ends with a parser emits the parser's
 * output instead, such as strings. https://docs.langchain.com/oss/javascript/langchain/models#stream
 */
export const langChain: StreamProtocol = {
  name: 'LangChain',
  recognises: (chunk) => modelMessageOf(chunk) !== undefined,
  open: (report) => {
    // Only a stream of OpenAI responses has a last chunk.
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
