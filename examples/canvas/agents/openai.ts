import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError } from 'openai'
import type { ChatCompletionMessageParam } from 'openai/resources/chat/completions'
import { checkPath, readProjectFile, type ProjectFile } from '../project-file.js'
import { AgentError, type Agent, type AgentTask } from './agent.js'

/** Source code only, because the text leaves the machine, and other kinds of files may contain keys. */
const EXTENSIONS = ['.ts', '.tsx', '.mts', '.cts', '.js', '.jsx', '.mjs', '.cjs', '.css', '.html', '.md']
const MAX_FILE_BYTES = 128 * 1024

export interface OpenAIAgentOptions {
  root: string
  /** The URL of any service with this API, up to and including its `/v1`. @default OpenAI's own */
  baseURL?: string
  apiKey: string
  model: string
  /**
   * How often a request is retried that was refused because of load or failed on the network, with growing delays. Nothing is
   * retried after text has arrived. @default 2
   */
  maxRetries?: number
}

/** Validates a task without reading files. Throws an `AgentError` of type `invalid_request_error`. */
export function checkOpenAITask ({ mode, prompt, targetFile }: AgentTask): void {
  if (prompt === undefined || prompt.trim() === '') {
    throw new AgentError('invalid_request_error', `mode "${mode}" needs a prompt: say what the model should write`)
  }
  if (targetFile !== undefined) checkPath(targetFile, EXTENSIONS)
}

/** Sends the task to a language model and yields its answer as it arrives. */
export function openAIAgent ({ root, baseURL, apiKey, model, maxRetries = 2 }: OpenAIAgentOptions): Agent {
  // Errors are reported to the user, so the client need not log them as well.
  const client = new OpenAI({ apiKey, maxRetries, logLevel: 'off', ...baseURL !== undefined && { baseURL } })

  return async function * (task, { signal }) {
    checkOpenAITask(task)
    const messages = await conversation(root, task)
    try {
      yield * answer(client, model, messages, signal)
    } catch (error) {
      throw explained(error, new URL(client.baseURL).host)
    }
  }
}

async function * answer (client: OpenAI, model: string, messages: ChatCompletionMessageParam[], signal: AbortSignal): AsyncGenerator<string> {
  const stream = await client.chat.completions.create({ model, messages, stream: true }, { signal })
  let ending: string | null = null
  let silent = true
  for await (const { choices: [choice] } of stream) {
    const text = choice?.delta.content
    if (text) {
      silent = false
      yield text
    }
    ending = choice?.finish_reason ?? ending
  }
  // The client ends an aborted stream as if it were complete, and also one that was cut between two events.
  signal.throwIfAborted()
  if (ending === null) throw new AgentError('connection_error', 'the model\'s answer was cut off: try again')
  if (ending === 'length') throw new AgentError('output_too_large', 'the model reached its token limit: ask for less at a time')
  if (ending === 'content_filter') throw new AgentError('content_filter', 'the model\'s content filter stopped its answer')
  if (silent) throw new AgentError('api_error', 'the model\'s answer has no text: rephrase the prompt')
}

async function conversation (root: string, { mode, prompt = '', targetFile }: AgentTask): Promise<ChatCompletionMessageParam[]> {
  const file = targetFile === undefined ? undefined : await existing(root, targetFile)
  const instructions = [
    'You are the assistant of a canvas on which people write software together.',
    `The task is of the kind "${mode}".`,
    targetFile === undefined ? '' : `Your answer becomes the content of the file ${targetFile}: answer with that content alone.`
  ]
  return [
    { role: 'system', content: instructions.filter((line) => line !== '').join('\n') },
    ...file === undefined ? [] : [{ role: 'user' as const, content: `The file ${file.path} as it is now:\n\n${file.text}` }],
    { role: 'user', content: prompt }
  ]
}

/** If the file does not exist yet, the model writes it. */
async function existing (root: string, targetFile: string): Promise<ProjectFile | undefined> {
  try {
    return await readProjectFile(root, targetFile, { extensions: EXTENSIONS, maxBytes: MAX_FILE_BYTES })
  } catch (error) {
    if (error instanceof AgentError && error.type === 'not_found_error') return undefined
    throw error
  }
}

/** The service's own error messages are passed on. Errors of the connection get a message of their own. */
function explained (error: unknown, host: string): unknown {
  if (error instanceof APIConnectionTimeoutError) {
    return new AgentError('timeout_error', `${host} did not answer in time: try again later`, { cause: error })
  }
  if (error instanceof APIConnectionError) {
    return new AgentError('connection_error', `${host} can't be reached: check that it runs and that OPENAI_BASE_URL is correct`, { cause: error })
  }
  // The error of fetch for a body that ended early
  if (error instanceof TypeError) return new AgentError('connection_error', `the connection to ${host} broke in the middle of the answer: try again`, { cause: error })
  if (error instanceof SyntaxError) return new AgentError('api_error', `${host} sent something that isn't JSON`, { cause: error })
  if (error instanceof APIError && error.status === undefined && error.type === undefined) {
    return new AgentError('api_error', error.message, { cause: error })
  }
  return error
}
