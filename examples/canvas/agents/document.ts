import { realpath } from 'node:fs/promises'
import { checkPath, readProjectFile } from '../project-file.js'
import { AgentError, type Agent, type AgentTask } from './agent.js'
import { title } from './document/markdown.js'
import type { Source } from './document/program.js'
import { Writers } from './document/writers.js'
import { paced } from './pace.js'

const EXTENSIONS = ['.ts', '.tsx', '.mts', '.cts']
const MAX_FILE_BYTES = 1024 * 1024

/** Validates a task without reading files. Throws an `AgentError` of type `invalid_request_error`. */
export function checkDocumentTask (task: AgentTask): asserts task is AgentTask & { targetFile: string } {
  const { targetFile } = task
  if (targetFile === undefined) {
    throw new AgentError('invalid_request_error', 'mode "document" needs a targetFile: give the path of a TypeScript file, such as "lib/index.ts"')
  }
  checkPath(targetFile, EXTENSIONS)
}

export interface DocumentAgentOptions {
  /** The root of the project whose files are documented. */
  root: string
  /** The approximate duration of a text, in seconds, at the pace of a language model. 0 means without delays. @default 0 */
  seconds?: number | undefined
}

export interface DocumentAgent {
  readonly write: Agent
  /** Loads the compiler and what this file imports. Without a warm-up the first job does so. */
  warmUp (targetFile: string): Promise<void>
  close (): void
}

/** Writes Markdown documentation of the exports of the TypeScript file `targetFile`. The first line needs no compiler. */
export function documentAgent ({ root, seconds = 0 }: DocumentAgentOptions): DocumentAgent {
  const writers = new Writers()

  async function read (targetFile: string): Promise<Source> {
    const file = await readProjectFile(root, targetFile, { extensions: EXTENSIONS, maxBytes: MAX_FILE_BYTES })
    return { root: await realpath(root), ...file }
  }

  async function * text (source: Source, signal: AbortSignal): AsyncGenerator<string> {
    yield title(source.path)
    yield * writers.write(source, signal)
  }

  return {
    async * write (task, { signal }) {
      checkDocumentTask(task)
      const source = await read(task.targetFile)
      signal.throwIfAborted()
      // The compiler runs ahead of the reader, and stops when the reader stops.
      const left = new AbortController()
      const pieces = text(source, AbortSignal.any([signal, left.signal]))
      try {
        yield * seconds === 0 ? pieces : paced(pieces, { seconds })
      } finally {
        left.abort()
      }
    },
    async warmUp (targetFile) { writers.warmUp(await read(targetFile)) },
    close () { writers.close() }
  }
}
