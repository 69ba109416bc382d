import { defaults } from '../options.js'
import type { Broker, BrokerSettings } from '../streams/broker.js'
import type { History } from '../streams/history.js'
import { systemClock } from '../util/clock.js'
import type { MaybePromise } from '../util/maybe-promise.js'
import { DEADLINE_MS, inTime } from './deadline.js'
import { checkDeliveries } from './delivery-rules.js'
import { holds, present } from './expect.js'
import type { BrokerFixture, FixtureOptions } from './fixture.js'
import { RecordingNode } from './recording-node.js'
import { TestedBroker } from './tested-broker.js'

/** Limits that a test sets. The others have their defaults. */
export interface Limits {
  readonly history?: Partial<History>
  readonly maxTextUnits?: number
}

/** An open broker and its node. */
export interface OpenNode {
  readonly broker: TestedBroker
  readonly node: RecordingNode
}

const silent = (): void => undefined
const silentLog = { debug: silent, info: silent, warn: silent, error: silent }

/** What one test works with: a store, and the brokers over it. */
export class Stage {
  readonly #options: FixtureOptions
  readonly #deadlineMs: number
  readonly #fixtures: BrokerFixture[] = []
  readonly #nodes = new Set<OpenNode>()
  readonly #killed = new Set<TestedBroker>()

  constructor (options: FixtureOptions) {
    this.#options = options
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS
  }

  /** Names of options that the broker does not support, as the fixture says. */
  get unsupported (): readonly string[] {
    return this.#options.unsupported ?? []
  }

  /** Opens the broker of one more node. */
  async open (limits: Limits = {}): Promise<OpenNode> {
    return await this.#open(this.#fixtures[0] ?? await this.#create(), limits)
  }

  /** Opens a broker over another store. */
  async openElsewhere (): Promise<OpenNode> {
    return await this.#open(await this.#create(), {})
  }

  async lose (): Promise<void> {
    await this.#call('lose', (fixture) => fixture.lose?.())
  }

  async disconnect ({ original }: TestedBroker): Promise<void> {
    await this.#call('disconnect', (fixture) => fixture.disconnect?.(original))
  }

  async reconnect ({ original }: TestedBroker): Promise<void> {
    await this.#call('reconnect', (fixture) => fixture.reconnect?.(original))
  }

  async kill (broker: TestedBroker): Promise<void> {
    this.#killed.add(broker)
    await this.#call('kill', (fixture) => fixture.kill?.(broker.original))
  }

  /** Throws if anything was delivered that the contract forbids in every situation. */
  check (): void {
    for (const { node } of this.#nodes) checkDeliveries(node.events)
  }

  /** Closes the brokers, then the stores. Rejects with the first error, but closes all. */
  async close (): Promise<void> {
    const closings = [
      ...[...this.#nodes].filter(({ broker }) => !this.#killed.has(broker)).map(({ broker }) => () => broker.close()),
      ...this.#fixtures.map((fixture) => () => this.#within('close of the fixture', () => fixture.close?.()))
    ]
    const errors: unknown[] = []
    for (const close of closings) await close().catch((error: unknown) => { errors.push(error) })
    if (errors.length > 0) throw errors[0]
  }

  async #create (): Promise<BrokerFixture> {
    const fixture = await this.#within('create', () => this.#options.create())
    this.#fixtures.push(fixture)
    return fixture
  }

  async #open (fixture: BrokerFixture, limits: Limits): Promise<OpenNode> {
    const original: Broker = await this.#within('createBroker', () => fixture.createBroker())
    const node = new RecordingNode(this.#deadlineMs)
    const broker = new TestedBroker(original, node, this.#deadlineMs)
    const opened = { broker, node }
    this.#nodes.add(opened)
    await this.#within('open', () => original.open(node, settingsOf(fixture, limits)))
    return opened
  }

  /** Calls a method of the fixture. It must have the method, because its options say so. */
  #call (name: 'lose' | 'disconnect' | 'reconnect' | 'kill', call: (fixture: BrokerFixture) => MaybePromise<void> | undefined): Promise<void> {
    const fixture = present(this.#fixtures[0], 'the fixture')
    holds(typeof fixture[name] === 'function', `the fixture has no method ${name}, but its options say so`)
    return this.#within(name, () => call(fixture))
  }

  #within<T> (name: string, call: () => MaybePromise<T>): Promise<T> {
    return inTime(this.#deadlineMs, new Promise((resolve) => { resolve(call()) }), () => `${name} did not settle`)
  }
}

function settingsOf ({ clock = systemClock }: BrokerFixture, { history, maxTextUnits = defaults.jobs.maxTextUnits }: Limits): BrokerSettings {
  return { history: { ...defaults.history, ...history }, maxTextUnits, stallAfterMs: defaults.jobs.stallAfterMs, clock, log: silentLog }
}
