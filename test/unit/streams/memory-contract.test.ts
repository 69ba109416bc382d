import t from 'tap'
import { MemoryBroker } from '../../../lib/streams/memory-broker.js'
import { brokerContract } from '../../../lib/testing/index.js'
import { FakeClock } from '../../support/fake-clock.js'

const create = () => ({ createBroker: () => new MemoryBroker(), clock: new FakeClock() })

for (const { name, run } of brokerContract({ create })) t.test(name, run)
