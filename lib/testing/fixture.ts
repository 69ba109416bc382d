import type { Broker } from '../streams/broker.js'
import type { Clock } from '../util/clock.js'
import type { MaybePromise } from '../util/maybe-promise.js'

/** A store to test, and what a test can do to it. The methods below `clock` simulate failures and are optional. */
export interface BrokerFixture {
  /** Returns a new broker over this store, not yet open. Each further call returns the broker of another node. */
  createBroker (): MaybePromise<Broker>
  /** Clock that the broker gets in its settings. @default the system's clock */
  readonly clock?: Clock
  /** Discards everything that the store keeps, while its brokers are open. */
  lose? (): MaybePromise<void>
  /** Cuts a broker off from the store and the other nodes, as a broken network does. */
  disconnect? (broker: Broker): MaybePromise<void>
  /** Ends a `disconnect`. */
  reconnect? (broker: Broker): MaybePromise<void>
  /** Stops a broker as if its process were killed, and waits until the other nodes consider it dead. It is not closed then. */
  kill? (broker: Broker): MaybePromise<void>
  /** Frees the store. Called after each test, when all brokers are closed. */
  close? (): MaybePromise<void>
}

/** How to make fixtures, and what they can do. The tests that need anything else are left out. */
export interface FixtureOptions {
  /** Returns a new store. Stores of two calls share nothing. */
  readonly create: () => MaybePromise<BrokerFixture>
  /** Whether `createBroker` may be called more than once for a store. @default false */
  readonly hasManyNodes?: boolean
  /** Whether the fixtures have the method `lose`. @default false */
  readonly canLose?: boolean
  /** Whether the fixtures have the methods `disconnect` and `reconnect`. @default false */
  readonly canDisconnect?: boolean
  /** Whether the fixtures have the method `kill`. @default false */
  readonly canKill?: boolean
  /** The same names as in the broker's `unsupported`. @default none */
  readonly unsupported?: readonly string[]
  /**
   * How long a test waits for one result or call of the broker, in milliseconds of real time. Must exceed the broker's own
   * timeouts, such as that of `revoke`. @default 10_000
   */
  readonly deadlineMs?: number
}
