import t from 'tap'
import { MemoryBroker } from '../../../lib/broker/memory.js'
import { brokerContract } from '../../support/broker-contract.js'
import { FakeClock } from '../../support/fake-clock.js'

brokerContract(t, () => new MemoryBroker({ clock: new FakeClock() }))
