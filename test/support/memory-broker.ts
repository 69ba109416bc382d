import type { BrokerNode, BrokerSettings } from '../../lib/streams/broker.js'
import type { History } from '../../lib/streams/history.js'
import { MemoryBroker } from '../../lib/streams/memory-broker.js'
import type { Clock } from '../../lib/util/clock.js'
import { defaults } from '../../lib/options.js'
import { fakeLogger } from './log.js'

export type Bounds = Partial<History & Pick<BrokerSettings, 'maxTextUnits' | 'deflateFromBytes' | 'log'>>

/** Returns the settings of an app without options, except for the given bounds. */
export function brokerSettings (clock: Clock, { maxTextUnits, deflateFromBytes, log, ...history }: Bounds = {}): BrokerSettings {
  return {
    clock,
    log: log ?? fakeLogger(),
    history: { ...defaults.history, ...history },
    ...defaults.jobs,
    ...(maxTextUnits !== undefined && { maxTextUnits }),
    ...(deflateFromBytes !== undefined && { deflateFromBytes })
  }
}

/** A memory broker with its own settings, whatever the server passes. */
export class TestMemoryBroker extends MemoryBroker {
  readonly #settings: BrokerSettings

  constructor (settings: BrokerSettings) {
    super()
    this.#settings = settings
  }

  override open (node: BrokerNode): void {
    super.open(node, this.#settings)
  }
}

export function memoryBroker (clock: Clock, bounds?: Bounds): TestMemoryBroker {
  return new TestMemoryBroker(brokerSettings(clock, bounds))
}
