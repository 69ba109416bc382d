import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { NOT_MEASURED, RUN_TYPESCRIPT } from '../support/child.js'
import { areSdksInstalled, SDKS } from '../support/real-parts.js'
import type { ScenarioRun } from './child.js'
import type { Sdk } from './scenario.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

export function fixtureOf (name: string): URL {
  return new URL(`../fixtures/streams/${name}.json`, import.meta.url)
}

/** Returns why the tests with the real SDKs are skipped, or false. */
export function whyNot (): string | false {
  return areSdksInstalled() ? false : 'the SDKs are not installed: npm run setup'
}

/** The Node.js that is installed with the SDKs, which is new enough for all of them. */
export const NODE = `${SDKS}node_modules/node/bin/node`

/** Returns the Node.js that runs an SDK: the current one if it is new enough. */
function nodeFor ({ node }: Sdk): string {
  return Number.parseInt(process.versions.node) >= node ? process.execPath : NODE
}

/** Runs the real SDK in a process of its own. */
export async function runSdk (sdk: Sdk, mode = 'test'): Promise<ScenarioRun[]> {
  const args = [...RUN_TYPESCRIPT, 'test/sdks/child.ts', sdk.name, mode]
  const child = spawn(nodeFor(sdk), args, { cwd: root, env: { ...process.env, ...NOT_MEASURED }, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text })
  const [code] = await once(child, 'close') as [number | null]
  if (code !== 0) throw new Error(`${sdk.name} ended with ${code}, after: ${output}`)
  return output.split('\n').filter((line) => line.startsWith('{"scenario"')).map((line) => JSON.parse(line) as ScenarioRun)
}
