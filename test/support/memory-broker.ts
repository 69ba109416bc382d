import { MemoryBroker } from '../../lib/streams/memory-broker.js'
import type { StreamStoreOptions } from '../../lib/streams/stream-store.js'
import type { Clock } from '../../lib/util/clock.js'
import { defaults } from '../../lib/options.js'
import { fakeLogger } from './log.js'

export type Bounds = Partial<Omit<StreamStoreOptions, 'clock'>>

/** The bounds that an app gets which sets none, but for those that are given. */
function streamsOptions (clock: Clock, bounds: Bounds = {}): StreamStoreOptions {
  return { clock, log: fakeLogger(), ...defaults.history, maxTextUnits: defaults.jobs.maxTextUnits, ...bounds }
}

export function memoryBroker (clock: Clock, bounds?: Bounds): MemoryBroker {
  return new MemoryBroker(streamsOptions(clock, bounds))
}
