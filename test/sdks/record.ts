import { writeFileSync } from 'node:fs'
import { fixtureOf, runSdk } from './run.js'
import { sdks } from './sdks.js'

// `npm run sdks:record -- <name>…`: rewrites the fixtures with the chunks that the installed SDKs emit.

const names = process.argv.slice(2)
for (const sdk of sdks.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const runs = await runSdk(sdk, 'record')
  // One chunk per line, so that diffs are readable.
  const scenarios = runs.flatMap(({ scenario, chunks = [] }) => chunks.length === 0 || sdk.recorded?.includes(scenario) === false
    ? []
    : `  ${JSON.stringify(scenario)}: [\n${chunks.map((chunk) => `    ${JSON.stringify(chunk)}`).join(',\n')}\n  ]`)
  writeFileSync(fixtureOf(sdk.name), `{\n${scenarios.join(',\n')}\n}\n`)
}
