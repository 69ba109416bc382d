import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { areSdksInstalled, SDKS } from '../support/real-parts.js'
import { readChunks } from '../support/streams.js'
import type { ScenarioRun } from './child.js'
import { baseline, requestsOf, scenarioNames, type Expected, type ScenarioName, type Sdk } from './scenario.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What a fixture keeps: per scenario, the chunks that the SDK emits. Recorded with `npm run sdks:record`. */
export type Fixture = Partial<Record<ScenarioName, readonly unknown[]>>

export function fixtureOf (name: string): URL {
  return new URL(`../fixtures/streams/${name}.json`, import.meta.url)
}

/** Tests that the jobs of an SDK end right: over its recorded chunks, and with the real package against a local provider. */
export function testSdk (sdk: Sdk): void {
  testFixture(sdk)
  t.test(`${sdk.about}, against a local provider`, { skip: whyNot(sdk), timeout: 300_000 }, async (t) => {
    const runs = await runSdk(sdk)
    t.same(runs.map(({ scenario }) => scenario), scenarioNames.filter((name) => sdk.wires[name] !== undefined), 'every scenario ran')
    for (const { scenario, outcome, closedAfterMs, requests } of runs) {
      const error = outcome.status === 'complete' ? undefined : outcome.error
      const result = outcome.status === 'complete' ? outcome.result : {}
      check(t, scenario, expectedOf(sdk, scenario), { status: outcome.status, text: outcome.text, ...result, ...error })
      t.equal(requests, requestsOf(sdk.wires[scenario]!), `${scenario}: requests to the provider`)
      if (closedAfterMs !== undefined) t.ok(closedAfterMs <= 200, `the provider's request was closed after ${closedAfterMs} ms`)
    }
  })
}

function testFixture (sdk: Sdk): void {
  const fixture = JSON.parse(readFileSync(fixtureOf(sdk.name), 'utf8')) as Fixture
  t.test(`${sdk.about}, over recorded chunks`, async (t) => {
    for (const [scenario, chunks] of Object.entries(fixture) as Array<[ScenarioName, readonly unknown[]]>) {
      const expected = expectedOf(sdk, scenario)
      const { text, ...end } = readChunks(chunks)
      t.equal(text, expected.text, `${scenario}: its text`)
      // Where the SDK throws, its chunks only end too early.
      const isCut = end.status === 'complete' || end.type === 'incomplete'
      if (expected.status === 'complete' || expected.type === 'incomplete' || !isCut) check(t, scenario, expected, { text, ...end })
    }
  })
}

function check (t: Test, scenario: ScenarioName, expected: Expected, found: Record<string, unknown>): void {
  const { usage, ...others } = expected
  t.match(found, others, `${scenario}: how it ended`)
  if (usage !== undefined) t.same(found.usage, usage, `${scenario}: its usage`)
  t.notMatch(String(found.message), /[{}\n]/, `${scenario}: its message is a sentence`)
}

function expectedOf ({ expected = {} }: Sdk, scenario: ScenarioName): Expected {
  return expected[scenario] ?? baseline[scenario]
}

/** Why the real SDK is not tried, or false. */
function whyNot (sdk: Sdk): string | false {
  return nodeFor(sdk) === undefined ? 'the SDKs are not installed: npm run setup' : false
}

/** The Node.js that runs an SDK: this one, or the one that the SDKs' folder installs. */
function nodeFor ({ node }: Sdk): string | undefined {
  if (!areSdksInstalled()) return undefined
  return Number.parseInt(process.versions.node) >= node ? process.execPath : `${SDKS}node_modules/node/bin/node`
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
