import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Test } from 'tap'
import { openAIServer } from '../../examples/support/openai-server.js'
import { runScript } from '../../support/child.js'
import { createTypist, type Typist } from './typist.js'

const ROOT = join(import.meta.dirname, '../../..')
const SERVER = new URL('../../../examples/canvas/server.ts', import.meta.url)

/** The example app as `npm start` runs it, with a language model that the test controls. */
export interface Stage {
  readonly model: Typist
  port (): number
  /** The process id of the server. */
  pid (): number
  /** Returns the URL of a session's page, directly or through another port. */
  url (sessionId: string, through?: number): string
  /** Ends the server by a crash or a stop. Resolves when it has exited. */
  stop (signal: 'SIGKILL' | 'SIGTERM'): Promise<void>
  /** Starts the server on the same port. Resolves when it listens. */
  start (): Promise<void>
}

/** Builds the page that the servers serve. */
export function buildPage (): void {
  const built = spawnSync('npm', ['run', 'build:page'], { cwd: ROOT, encoding: 'utf8' })
  if (built.status !== 0) throw new Error(`the page can't be built: ${built.stdout}${built.stderr}`)
}

/** If `isDefault`, runs without a language model and at the default pace, as after `npm ci && npm start`. */
export async function setStage (t: Test, { isDefault = false } = {}): Promise<Stage> {
  buildPage()
  const model = createTypist()
  const { baseURL } = await openAIServer(t, model.answer)
  let port = '0'
  let server: ReturnType<typeof runScript> | undefined

  const stage: Stage = {
    model,
    port: () => Number(port),
    pid: () => server!.process.pid!,
    url: (sessionId, through = Number(port)) => `http://localhost:${through}/?${new URLSearchParams({ sessionId }).toString()}`,
    async start () {
      server = runScript(t, SERVER, {
        PORT: port, OPENAI_API_KEY: '', NODE_OPTIONS: '', ...isDefault ? { OPENAI_BASE_URL: '' } : { OPENAI_BASE_URL: baseURL, OPENAI_MODEL: 'typist', DOCUMENT_SECONDS: '0' }
      })
      let listening: RegExpExecArray | null = null
      while (listening === null) listening = /open http:\/\/localhost:(\d+)/.exec(await server.next())
      port = listening[1]!
    },
    async stop (signal) {
      const { process: child } = server!
      const closed = once(child, 'close')
      child.kill(signal)
      await closed
    }
  }
  await stage.start()
  return stage
}
