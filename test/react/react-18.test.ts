import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import t from 'tap'
import './dom.js'
import type * as Kit from './kit.js'
import { suite } from './suite.js'

// The same suite with the older React, which is bundled with the kit instead of the newer one.

/** When bundled, React's `act` doesn't find Node's setImmediate and leaves open ports, which keep the process alive. */
class TurnChannel {
  readonly port1 = { onmessage: (): void => { /* React sets it. */ } }
  readonly port2 = { postMessage: (): void => { setImmediate(() => { this.port1.onmessage() }) } }
}
Object.assign(globalThis, { MessageChannel: TurnChannel })

const older = fileURLToPath(new URL('../fixtures/react-18/node_modules/', import.meta.url))
const directory = t.testdir({})
await build({
  entryPoints: [fileURLToPath(new URL('kit.ts', import.meta.url))],
  outfile: `${directory}/kit.cjs`,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  alias: { react: `${older}react`, 'react-dom': `${older}react-dom` },
  logLevel: 'silent'
})
const kit = createRequire(import.meta.url)(`${directory}/kit.cjs`) as typeof Kit

t.match(kit.version, /^18\./)
suite(kit)
