/** Tests for authors of brokers. `lib/testing/README.md` describes them. */
export { brokerContract, type BrokerTest } from './broker-contract.js'
export type { BrokerFixture, FixtureOptions } from './fixture.js'
export { fuzzBroker, type FuzzOptions, type FuzzReport } from './fuzz.js'
