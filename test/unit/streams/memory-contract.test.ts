import t from 'tap'
import { brokerContract } from '../../support/broker-contract.js'
import { FakeClock } from '../../support/fake-clock.js'
import { memoryBroker } from '../../support/memory-broker.js'

brokerContract(t, (bounds) => memoryBroker(new FakeClock(), bounds))
