import type { Test } from 'tap'
import type { AiCanvasWsOptions, WebSocketManager } from '../../lib/index.js'
import { defaults } from '../../lib/options.js'
import { redisBroker } from '../../lib/redis/index.js'
import type { Broker, BrokerSettings } from '../../lib/streams/broker.js'
import { systemClock } from '../../lib/util/clock.js'
import { startApp } from './app.js'
import { captureLog, type Line as LogLine } from './log.js'
import { Line } from './redis-fixture.js'
import { until } from './until.js'

const silent = (): void => undefined

/** Settings of a broker that is tested without an app. */
export const brokerSettings: BrokerSettings = {
  history: defaults.history, maxTextUnits: 1_000_000, stallAfterMs: 60_000, clock: systemClock, log: { debug: silent, info: silent, warn: silent, error: silent }
}

/** A node in this process, with a line to Redis that can be cut. */
export interface Node {
  readonly broker: Broker
  readonly line: Line
  readonly manager: WebSocketManager
  readonly url: (query?: string) => string
  readonly origin: string
  /** The log lines of the node at the level info and above. */
  readonly logged: LogLine[]
  readonly close: () => Promise<void>
}

/** @param settings Further settings of the connections. */
export async function startNode (
  t: Test, server: { readonly port: number }, leaseMs = 5_000, options: AiCanvasWsOptions = {}, settings: object = {}
): Promise<Node> {
  const line = await Line.to(server.port)
  t.teardown(() => { line.close() })
  const { lines, stream } = captureLog()
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: line.port, ...settings }, leaseMs })
  const { app, url, origin } = await startApp(t, { ...options, broker }, { logger: { level: 'info', stream } })
  return { broker, line, url, origin, manager: app.wsManager, logged: lines, close: () => app.close() }
}

export function isReady (...nodes: Node[]): Promise<void> {
  return until(() => nodes.every(({ broker }) => broker.status?.().state === 'ready'))
}
