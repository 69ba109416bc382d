import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { RECIPES } from '../../support/recipes.js'
import { whyNot } from './support.js'

// The environment without the variables of the outer test runner, which must not affect the runners under test.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:NODE_|TAP|_TAPJS)/.test(name)))

for (const [runner, passed] of [['node', /^# pass 1$|pass 1$/m], ['vitest', /1 passed/], ['tap', /pass: 3 \}/]] as const) {
  t.test(`the test for ${runner} runs and passes`, { skip: whyNot() }, async (t) => {
    const child = spawn('npm', ['run', `test:${runner}`], { cwd: `${RECIPES}testing`, env: { ...env, NO_COLOR: '1', CI: 'true' } })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { output += text })
    const [code] = await once(child, 'close') as [number | null]
    t.equal(code, 0, output)
    t.match(output, passed)
  })
}
