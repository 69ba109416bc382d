import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ScenarioRun } from './child.js'
import type { Sdk } from './scenario.js'

/** Where `npm run setup` installs the SDKs. */
const installed = new URL('node_modules/', import.meta.url)
const root = fileURLToPath(new URL('../../', import.meta.url))

export function fixtureOf (name: string): URL {
  return new URL(`../fixtures/streams/${name}.json`, import.meta.url)
}

/** The Node.js that runs an SDK: this one, or the one that the SDKs' folder installs. */
export function nodeFor ({ node }: Sdk): string | undefined {
  if (!existsSync(installed)) return undefined
  return Number.parseInt(process.versions.node) >= node ? process.execPath : fileURLToPath(new URL('node/bin/node', installed))
}

/** Runs the real SDK in a process of its own. */
export async function runSdk (sdk: Sdk, mode = 'test'): Promise<ScenarioRun[]> {
  const args = ['--import=tsx', '--conditions=@ai-canvas-ws/source', 'test/sdks/child.ts', sdk.name, mode]
  const child = spawn(nodeFor(sdk)!, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text })
  const [code] = await once(child, 'close') as [number | null]
  if (code !== 0) throw new Error(`${sdk.name} ended with ${code}, after: ${output}`)
  return output.split('\n').filter((line) => line.startsWith('{"scenario"')).map((line) => JSON.parse(line) as ScenarioRun)
}
