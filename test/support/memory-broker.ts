import { MemoryBroker } from '../../lib/broker/memory.js'
import type { StreamsOptions } from '../../lib/broker/streams.js'
import type { Clock } from '../../lib/clock.js'
import { defaults } from '../../lib/options.js'
import { fakeLogger } from './log.js'

export type Bounds = Partial<Omit<StreamsOptions, 'clock'>>

/** The bounds that an app gets which sets none, but for those that are given. */
function streamsOptions (clock: Clock, bounds: Bounds = {}): StreamsOptions {
  return { clock, log: fakeLogger(), ...defaults.history, maxTextUnits: defaults.jobs.maxTextUnits, ...bounds }
}

export function memoryBroker (clock: Clock, bounds?: Bounds): MemoryBroker {
  return new MemoryBroker(streamsOptions(clock, bounds))
}
