import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError } from 'openai'
import type { ChatCompletionMessageParam } from 'openai/resources/chat/completions'
import { checkPath, readProjectFile, type ProjectFile } from '../project-file.js'
import { AgentError, type Agent, type AgentTask } from './agent.js'

/** Source code only: what is sent leaves the machine, and keys live in files of other kinds. */
const EXTENSIONS = ['.ts', '.tsx', '.mts', '.cts', '.js', '.jsx', '.mjs', '.cjs', '.css', '.html', '.md']
const MAX_FILE_BYTES = 128 * 1024

export interface OpenAIAgentOptions {
  root: string
  /** Of any service that speaks the API, up to and with its `/v1`. @default OpenAI's own */
  baseURL?: string
  apiKey: string
  model: string
  /**
   * How often a request is sent again that was refused for load or did not get through, with growing pauses. Nothing is
   * sent again once text has come.
   * @default 2
   */
  maxRetries?: number
}

/** What a request alone shows to be wrong. Throws an `AgentError` of type `invalid_request_error`. */
export function checkOpenAITask ({ mode, prompt, targetFile }: AgentTask): void {
  if (prompt === undefined || prompt.trim() === '') {
    throw new AgentError('invalid_request_error', `mode "${mode}" needs a prompt: say what the model should write`)
  }
  if (targetFile !== undefined) checkPath(targetFile, EXTENSIONS)
}

/** Asks a language model, and gives its answer as it comes. */
export function openAIAgent ({ root, baseURL, apiKey, model, maxRetries = 2 }: OpenAIAgentOptions): Agent {
  // What goes wrong is told to the person who asked, so the client need not print it as well
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
  // The client ends an aborted stream as if it were whole, and one that was cut off between two events as well
  signal.throwIfAborted()
  if (ending === null) throw new AgentError('connection_error', 'the model\'s answer was cut off: ask again')
  if (ending === 'length') throw new AgentError('output_too_large', 'the model stopped at its limit of tokens: ask for less at a time')
  if (ending === 'content_filter') throw new AgentError('content_filter', 'the model\'s content filter stopped its answer')
  if (silent) throw new AgentError('api_error', 'the model answered without any text: ask in other words')
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

/** A file that does not exist yet is the one that the model shall write. */
async function existing (root: string, targetFile: string): Promise<ProjectFile | undefined> {
  try {
    return await readProjectFile(root, targetFile, { extensions: EXTENSIONS, maxBytes: MAX_FILE_BYTES })
  } catch (error) {
    if (error instanceof AgentError && error.type === 'not_found_error') return undefined
    throw error
  }
}

/** What the service itself answered is passed on as it is; what never reached it, or broke on the way, is put in words. */
function explained (error: unknown, host: string): unknown {
  if (error instanceof APIConnectionTimeoutError) {
    return new AgentError('timeout_error', `${host} did not answer in time: ask again later`, { cause: error })
  }
  if (error instanceof APIConnectionError) {
    return new AgentError('connection_error', `${host} can't be reached: check that it runs and that OPENAI_BASE_URL names it`, { cause: error })
  }
  // fetch's own word for a body that ended before its time
  if (error instanceof TypeError) return new AgentError('connection_error', `the connection to ${host} broke in the middle of the answer: ask again`, { cause: error })
  if (error instanceof SyntaxError) return new AgentError('api_error', `${host} sent something that isn't JSON`, { cause: error })
  if (error instanceof APIError && error.status === undefined && error.type === undefined) {
    return new AgentError('api_error', error.message, { cause: error })
  }
  return error
}
