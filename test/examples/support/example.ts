import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { NOT_MEASURED } from '../../support/child.js'

const ROOT = join(import.meta.dirname, '../../..')

export interface Example {
  process: ChildProcessWithoutNullStreams
  /** Resolves with the port once it listens. */
  port: Promise<string>
  ended: Promise<Ended>
}

/** The exit code, the signal, and all that was written to stderr. */
type Ended = [code: number | null, signal: string | null, errors: string]

/**
 * Runs an example, by default the one of `npm start`, with the arguments of that script. It is not run through npm, which would
 * receive our signals instead of the example. So would the command of tsx, which exits early if the example reacts late to a signal
 * on a busy machine.
 */
export function runExample (t: Test, env: NodeJS.ProcessEnv, file?: string): Example {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: { start: string } }
  const [command, ...args] = scripts.start.split(' ')
  // A wrapper, such as tsx's, would also receive our signals instead of the example.
  if (command !== 'node') throw new Error(`npm start runs ${String(command)}, not node`)
  if (file !== undefined) args.splice(-1, 1, file)
  const given = Object.entries(process.env).filter(([name]) => !name.startsWith('OPENAI_') && name !== 'NODE_OPTIONS')
  const child = spawn(process.execPath, args, {
    cwd: ROOT, env: { ...Object.fromEntries(given), ...NOT_MEASURED, ...env }
  })
  let errors = ''
  child.stderr.on('data', (data: Buffer) => { errors += data.toString() })
  const ended = end(child).then(([code, signal]): Ended => [code, signal, errors])
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  const port = listening(child)
  port.catch(() => undefined)
  return { process: child, port, ended }
}

async function end (child: ChildProcessWithoutNullStreams): Promise<[number | null, string | null]> {
  return await once(child, 'close') as [number | null, string | null]
}

async function listening (child: ChildProcessWithoutNullStreams): Promise<string> {
  // Lines are read until the end, even after the expected one, because a full pipe would block the example
  const lines = createInterface(child.stdout)
  return new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      const port = /(?:Server listening at http:\/\/127\.0\.0\.1|open http:\/\/localhost):(\d+)/.exec(line)?.[1]
      if (port !== undefined) resolve(port)
    })
    lines.on('close', () => { reject(new Error('the example ended, and never listened')) })
  })
}
