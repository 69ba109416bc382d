import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import WebSocket from 'ws'
import aiCanvasWs, { type AIOutcome, type AISource } from '../../lib/index.js'
import { TrackSource } from '../../lib/jobs/track-source.js'
import { startProvider, type Provider } from './provider.js'
import { scenarioNames, type ScenarioName, type Sdk } from './scenario.js'
import { sdks } from './sdks.js'

// Runs one SDK through its scenarios, under the Node.js that it needs: `child.ts <name> [record]`. Prints one line of JSON
// for each scenario; `record` prints the chunks, too.

export interface ScenarioRun {
  readonly scenario: ScenarioName
  readonly outcome: AIOutcome
  /** Scenario `cancel` only: milliseconds from the client's message to the end of the provider's request. The best of three runs. */
  readonly closedAfterMs?: number
  readonly requests: number
  readonly chunks?: readonly unknown[]
}

const [name, mode] = process.argv.slice(2)
const sdk = sdks.find((each) => each.name === name)
if (sdk === undefined) throw new Error(`no SDK is called ${name}`)

const warnings: unknown[] = []
// Some SDKs reject internal promises that have no handler.
process.on('unhandledRejection', (reason) => { warnings.push(String(reason)) })

const app = Fastify({ forceCloseConnections: true })
await app.register(aiCanvasWs, { allowCancel: true })
const address = await app.listen({ host: '127.0.0.1', port: 0 })

for (const scenario of scenarioNames) {
  const wire = sdk.wires[scenario]
  if (wire === undefined) continue
  const runs: ScenarioRun[] = []
  for (let round = 0; round < (scenario === 'cancel' ? 3 : 1); round++) {
    const provider = await startProvider(wire)
    runs.push(scenario === 'cancel' ? await cancelled(sdk, provider, round) : await ended(sdk, provider, scenario))
    provider.close()
  }
  const run = runs.reduce((best, each) => (each.closedAfterMs ?? 0) < (best.closedAfterMs ?? 0) ? each : best)
  const cause = 'cause' in run.outcome ? { cause: String(run.outcome.cause) } : {}
  process.stdout.write(`${JSON.stringify({ ...run, outcome: { ...run.outcome, ...cause } })}\n`)
}
await app.close()
process.exit()

async function ended (sdk: Sdk, provider: Provider, scenario: ScenarioName): Promise<ScenarioRun> {
  const chunks = mode === 'record' ? await chunksOf(sdk, provider, scenario) : undefined
  const outcome = await app.wsManager.runAI(scenario, {}, (signal) => sdk.open({ url: provider.url, signal, scenario }) as AISource<unknown>, { text: true })
  return { scenario, outcome, requests: provider.requests, ...(chunks !== undefined && { chunks }) }
}

/** Runs the scenario `cancel`: a client cancels the job after the first words, while the model's response is open. */
async function cancelled (sdk: Sdk, provider: Provider, round: number): Promise<ScenarioRun> {
  const sessionId = `cancel-${round}`
  const client = new WebSocket(`${address.replace('http', 'ws')}/ws?sessionId=${sessionId}`)
  await once(client, 'open')
  let [cancelledAt, closedAt] = [Infinity, Infinity]
  client.on('message', (data: Buffer) => {
    if (!data.toString().includes('"delta"')) return
    void provider.opened.then((response) => {
      if (cancelledAt !== Infinity) return
      response.once('close', () => { closedAt = performance.now() })
      cancelledAt = performance.now()
      client.send(JSON.stringify({ type: 'cancel', sessionId }))
    })
  })
  const outcome = await app.wsManager.runAI(sessionId, {}, (signal) => sdk.open({ url: provider.url, signal, scenario: 'cancel' }) as AISource<unknown>, { text: true })
  client.close()
  // JSON can't represent Infinity.
  const closedAfterMs = await isClosed(provider) ? closedAt - cancelledAt : 1e9
  return { scenario: 'cancel', outcome, requests: provider.requests, closedAfterMs }
}

/** Waits for the end of the open request, for at most 5 s. Returns whether it has ended. */
async function isClosed ({ open }: Provider): Promise<boolean> {
  if (open === undefined) return false
  if (open.closed) return true
  return await Promise.race([once(open, 'close').then(() => true), delay(5000, false, { ref: false })])
}

async function chunksOf (sdk: Sdk, provider: Provider, scenario: ScenarioName): Promise<unknown[]> {
  const chunks: unknown[] = []
  try {
    const source = new TrackSource(await sdk.open({ url: provider.url, signal: new AbortController().signal, scenario }) as AISource<unknown>)
    for (let read = await source.read(); read.done !== true; read = await source.read()) chunks.push(plain(read.value))
  } catch { /* The chunks before the error are recorded. */ }
  return chunks
}

/**
 * Returns a chunk in the form that a fixture stores. `JSON.stringify` omits an error's message, and a stack contains paths. Bytes
 * are stored as text.
 */
function plain (chunk: unknown): unknown {
  if (chunk instanceof Uint8Array) return Buffer.from(chunk).toString()
  return JSON.parse(JSON.stringify(chunk, (key, value: unknown) => {
    if (key === 'stack') return undefined
    return value instanceof Error ? { ...(value as object), name: value.name, message: value.message } : value
  }))
}
