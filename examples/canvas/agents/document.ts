import { fork } from 'node:child_process'
import { on } from 'node:events'
import { realpath } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { checkPath, readProjectFile } from '../project-file.js'
import { AgentError, type Agent, type AgentTask } from './agent.js'
import type { Source } from './document/program.js'
import type { Report } from './document/writer.js'

const WRITER = fileURLToPath(new URL('document/writer.ts', import.meta.url))
const EXTENSIONS = ['.ts', '.tsx', '.mts', '.cts']
const MAX_FILE_BYTES = 1024 * 1024
const MAX_HEAP_MIB = 512

/** What a request alone shows to be wrong. Throws an `AgentError` of type `invalid_request_error`. */
export function checkDocumentTask (task: AgentTask): asserts task is AgentTask & { targetFile: string } {
  const { targetFile } = task
  if (targetFile === undefined) {
    throw new AgentError('invalid_request_error', 'mode "document" needs a targetFile: give the path of a TypeScript file, such as "lib/index.ts"')
  }
  checkPath(targetFile, EXTENSIONS)
}

/**
 * Writes Markdown documentation of what the TypeScript file `targetFile` exports, in pieces of one declaration or less.
 *
 * The compiler works in a process of its own: it is busy for a second or more without a pause, and here no heartbeat and
 * no other job waits for that. A file that keeps it busy for ever can be stopped, and one that fills its memory takes
 * nothing else with it.
 */
export function documentAgent ({ root }: { root: string }): Agent {
  return async function * (task, { signal }) {
    checkDocumentTask(task)
    const file = await readProjectFile(root, task.targetFile, { extensions: EXTENSIONS, maxBytes: MAX_FILE_BYTES })
    yield * write({ root: await realpath(root), ...file }, signal)
  }
}

async function * write (source: Source, signal: AbortSignal): AsyncGenerator<string> {
  signal.throwIfAborted()
  const writer = fork(WRITER, { execArgv: [...process.execArgv, `--max-old-space-size=${MAX_HEAP_MIB}`] })
  try {
    const reports = on(writer, 'message', { signal, close: ['disconnect'] }) as AsyncIterable<[Report]>
    writer.send(source)
    for await (const [report] of reports) {
      // Reports that have come already are passed on even after an abort, unless it is looked at here.
      signal.throwIfAborted()
      switch (report.type) {
        case 'chunk':
          yield report.text
          break
        case 'end':
          return
        case 'invalid':
          throw new AgentError('invalid_request_error', report.message)
        default:
          report satisfies never
      }
    }
    throw new AgentError('internal_error', `the compiler stopped before the documentation of ${source.path} was whole`)
  } finally {
    writer.kill('SIGKILL')
  }
}
