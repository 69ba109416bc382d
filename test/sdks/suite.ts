import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { readChunks } from '../support/streams.js'
import { fixtureOf, runSdk, whyNot } from './run.js'
import { baseline, requestsOf, scenarioNames, type Expected, type ScenarioName, type Sdk } from './scenario.js'

/** The content of a fixture: the chunks that the SDK emits in each scenario. Recorded with `npm run sdks:record`. */
export type Fixture = Partial<Record<ScenarioName, readonly unknown[]>>

// Each SDK runs in its own process.
t.setTimeout(300_000)

/** Tests that the jobs of an SDK end correctly: over its recorded chunks, and with the real package against a local provider. */
export function testSdk (sdk: Sdk): void {
  testFixture(sdk)
  t.test(`${sdk.about}, against a local provider`, { skip: whyNot(), timeout: 300_000 }, async (t) => {
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
      // If the SDK throws, its recorded chunks only end too early.
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
