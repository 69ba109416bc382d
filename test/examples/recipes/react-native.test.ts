import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'
import t from 'tap'
import { WebSocket } from 'ws'
import type { Client } from '../../../lib/client/index.js'
import { startApp } from '../../support/app.js'
import { until } from '../../support/until.js'
import { RECIPES } from '../../support/recipes.js'
import { whyNot } from './support.js'

/** The two native modules, as far as the recipe uses them. */
interface Device {
  appState: string
  isConnected: boolean
  readonly listeners: { app?: (state: string) => void, network?: (state: { isConnected: boolean }) => void }
}

const STUBS: Readonly<Record<string, string>> = {
  'react-native': `
    const { device } = globalThis
    export const AppState = {
      get currentState () { return device.appState },
      addEventListener (_type, listener) { device.listeners.app = listener }
    }`,
  '@react-native-community/netinfo': `
    const { device } = globalThis
    export default { addEventListener (listener) { device.listeners.network = listener } }`
}

const stubs = (server: string): Plugin => ({
  name: 'stubs',
  setup (bundle) {
    bundle.onResolve({ filter: /^(?:react-native|@react-native-community\/netinfo|\.\/server)$/ }, ({ path }) => ({ path, namespace: 'stub' }))
    bundle.onLoad({ filter: /.*/, namespace: 'stub' }, ({ path }) => ({ contents: STUBS[path] ?? `export const SERVER = '${server}'` }))
  }
})

t.test('the recipe react-native: an app in the background has no connection, and misses nothing', { skip: whyNot() }, async (t) => {
  const { app, url } = await startApp(t)
  const file = join(t.testdir(), 'client.mjs')
  await build({
    entryPoints: [join(RECIPES, 'react-native/src/client.ts')],
    outfile: file,
    bundle: true,
    format: 'esm',
    plugins: [stubs(url().replace(/^ws/, 'http').replace(/\/ws.*$/, ''))],
    logLevel: 'silent'
  })
  const device: Device = { appState: 'active', isConnected: true, listeners: {} }
  const sockets: WebSocket[] = []
  class Counted extends WebSocket {
    constructor (address: string, protocols?: string[]) {
      super(address, protocols)
      sockets.push(this)
    }
  }
  Object.assign(globalThis, { device, WebSocket: Counted })
  t.teardown(() => { Object.assign(globalThis, { device: undefined, WebSocket: undefined }) })
  const { client } = await import(pathToFileURL(file).href) as { client: Client }
  t.teardown(() => { client.close() })

  const store = client.jobStore('s')
  t.teardown(store.subscribe(() => { /* The screen. */ }))
  const job = app.wsManager.startAI('s', { prompt: 'x' })
  job.progress({ chunksReceived: 1, delta: 'once ' })
  await until(() => store.getSnapshot().latest?.text === 'once ')

  device.appState = 'background'
  device.listeners.app!('background')
  t.equal(client.state, 'closed')
  await until(() => app.wsManager.getStats().totalConnections === 0)
  device.listeners.network!({ isConnected: true })
  t.equal(client.state, 'closed', 'the network does not wake it there')
  job.progress({ chunksReceived: 2, delta: 'upon a time' })
  await job.complete({ chunks: 2 })
  t.equal(store.getSnapshot().latest?.status, 'processing', 'the job is not taken for lost')

  device.appState = 'active'
  device.listeners.app!('active')
  await until(() => store.getSnapshot().latest?.status === 'complete')
  t.equal(store.getSnapshot().latest?.text, 'once upon a time')

  // After a lost connection the client waits for up to 3 seconds, unless the network is reported as available.
  sockets.at(-1)!.terminate()
  await until(() => client.state === 'waiting')
  device.listeners.network!({ isConnected: false })
  t.equal(client.state, 'waiting')
  device.listeners.network!({ isConnected: true })
  t.equal(client.state, 'connecting')
  await until(() => client.state === 'connected')
  t.equal(sockets.length, 3)
})
