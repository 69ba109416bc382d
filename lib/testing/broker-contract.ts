import { isPossible, type ContractCase } from './contract-case.js'
import { controlCases } from './control-cases.js'
import type { FixtureOptions } from './fixture.js'
import { idempotenceCases } from './idempotence-cases.js'
import { jobCases } from './job-cases.js'
import { joinCases } from './join-cases.js'
import { limitCases } from './limit-cases.js'
import { lossCases } from './loss-cases.js'
import { nodeCases } from './node-cases.js'
import { offsetCases } from './offset-cases.js'
import { orderCases } from './order-cases.js'
import { ownershipCases } from './ownership-cases.js'
import { Stage } from './stage.js'
import { textCases } from './text-cases.js'

/** A test for any test runner. */
export interface BrokerTest {
  /** A sentence that says what holds. */
  readonly name: string
  /** Resolves if it holds, and rejects with an `Error` that says what does not. */
  readonly run: () => Promise<void>
}

const cases: readonly ContractCase[] = [
  ...orderCases, ...joinCases, ...limitCases, ...jobCases, ...textCases, ...offsetCases, ...idempotenceCases, ...controlCases, ...ownershipCases,
  ...nodeCases, ...lossCases
]

/**
 * Returns the tests of the `Broker` contract that a fixture makes possible. Each run has a new store, and closes its brokers
 * and the store, even if it fails.
 *
 * ```js
 * for (const { name, run } of brokerContract({ create })) test(name, run)
 * ```
 */
export function brokerContract (options: FixtureOptions): BrokerTest[] {
  return cases.filter((one) => isPossible(one, options)).map((one) => ({ name: one.name, run: () => runCase(one, options) }))
}

async function runCase ({ run }: ContractCase, options: FixtureOptions): Promise<void> {
  const stage = new Stage(options)
  try {
    await run(stage)
  } catch (error) {
    // The error that comes first says most.
    await stage.close().catch(() => undefined)
    throw error
  }
  await stage.close()
  stage.check()
}
