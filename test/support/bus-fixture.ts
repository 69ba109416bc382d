import type { BrokerFixture } from '../../lib/testing/fixture.js'
import { BusStore, type BusOptions } from './bus-store.js'
import { FakeClock } from './fake-clock.js'

export interface BusFixture extends BrokerFixture {
  readonly store: BusStore
  readonly clock: FakeClock
  loseTail (publications: number): void
}

/** Returns a store for the contract tests. */
export function busFixture (seed = 1, options: Omit<BusOptions, 'seed'> = {}): BusFixture {
  const store = new BusStore({ ...options, seed })
  return {
    store,
    clock: new FakeClock(),
    createBroker: () => store.createBroker(),
    lose: () => { store.lose() },
    loseTail: (publications) => { store.loseTail(publications) },
    disconnect: (broker) => { store.disconnect(broker) },
    reconnect: (broker) => store.reconnect(broker),
    kill: (broker) => store.kill(broker),
    close: () => { store.close() }
  }
}
