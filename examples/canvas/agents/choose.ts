import { AgentError, type Agent, type AgentTask } from './agent.js'
import { checkDocumentTask, type DocumentAgent } from './document.js'
import { checkOpenAITask, openAIAgent, type OpenAIAgentOptions } from './openai.js'

export interface AgentOptions {
  /** The project whose files the agents may read. */
  root: string
  openai?: Omit<OpenAIAgentOptions, 'root'> | undefined
}

/** The variables that give a server a language model. */
export const MODEL_VARIABLES = 'OPENAI_MODEL and OPENAI_BASE_URL (Ollama, vLLM) or OPENAI_API_KEY'

/**
 * Answers who does a task. Throws an `AgentError` when nobody can: `invalid_request_error` for what the request alone
 * shows to be wrong, `not_configured` for a server without a language model.
 */
export type ChooseAgent = (task: AgentTask) => Agent

export function agentChooser ({ root, openai }: AgentOptions, document: DocumentAgent): ChooseAgent {
  const model = openai === undefined ? undefined : openAIAgent({ root, ...openai })

  return (task) => {
    if (task.mode === 'document') {
      checkDocumentTask(task)
      return document.write
    }
    if (model === undefined) {
      throw new AgentError('not_configured', `mode "${task.mode}" needs a language model: start the server with ${MODEL_VARIABLES} set. Mode "document" needs nothing.`)
    }
    checkOpenAITask(task)
    return model
  }
}
