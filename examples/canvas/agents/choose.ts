import { AgentError, type Agent, type AgentTask } from './agent.js'
import { checkDocumentTask, type DocumentAgent } from './document.js'
import { checkOpenAITask, openAIAgent, type OpenAIAgentOptions } from './openai.js'

export interface AgentOptions {
  /** The root of the project whose files the agents may read. */
  root: string
  openai?: Omit<OpenAIAgentOptions, 'root'> | undefined
}

/** The environment variables that configure a language model. */
export const MODEL_VARIABLES = 'OPENAI_MODEL and OPENAI_BASE_URL (Ollama, vLLM) or OPENAI_API_KEY'

/**
 * Returns the agent for a task. Throws an `AgentError`: `invalid_request_error` if the request alone is wrong, `not_configured`
 * if the task needs a language model and the server has none.
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
