import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Page } from './markdown.js'
import { propertiesOf, runSnippet } from './snippets.js'

const page = new Page('lib/testing/README.md')

/** Returns the names in a column of a table, without arguments. */
function namesIn (heading: string, column: string): string[] {
  return page.table(heading).map((row) => /^`?(\w+)/.exec(row[column]!)![1]!).sort()
}

t.test('the tables name every option and every method of a fixture', (t) => {
  t.same(namesIn('The contract', 'option of `brokerContract`'), propertiesOf('lib/testing/fixture.ts', 'FixtureOptions').sort())
  t.same(namesIn('Fixtures', 'fixture'), propertiesOf('lib/testing/fixture.ts', 'BrokerFixture').sort())
  t.same(namesIn('The fuzz', 'option of `fuzzBroker`'), propertiesOf('lib/testing/fuzz.ts', 'FuzzOptions').sort())
  t.end()
})

t.test('the blocks run, with the bus as the broker', async (t) => {
  const support = fileURLToPath(new URL('../support/', import.meta.url))
  const broker = `import { BusStore as MyStore } from '${support}bus-store.ts'\nclass MyBroker { constructor (store) { return store.createBroker() } }\n`
  for (const heading of ['The contract', 'The fuzz']) {
    const [block] = page.below(heading, 'js')
    const code = block!.replace(/^import .* from '\.\/my-broker\.js'\n/m, broker)
    t.not(code, block)
    const output = await runSnippet(t, code)
    t.match(output, /^# fail 0$/m, heading)
    t.ok(Number(/^# pass (\d+)$/m.exec(output)?.[1]) >= (heading === 'The contract' ? 50 : 1))
  }
})
