import type { FixtureOptions } from './fixture.js'
import type { Stage } from './stage.js'

/** What a case needs of the fixture: a second node, a failure that the fixture can simulate, or an option that the broker respects. */
type Need = 'nodes' | 'lose' | 'disconnect' | 'kill' | `history.${'maxMessages' | 'maxBytes' | 'maxTotalBytes'}` | 'jobs.maxTextUnits'

/** One case of the contract. */
export interface ContractCase {
  /** A sentence that says what holds. */
  readonly name: string
  readonly needs?: readonly Need[]
  readonly run: (stage: Stage) => Promise<void>
}

/** Returns whether a fixture can do what a case needs. */
export function isPossible ({ needs = [] }: ContractCase, options: FixtureOptions): boolean {
  const { hasManyNodes = false, canLose = false, canDisconnect = false, canKill = false, unsupported = [] } = options
  const able: ReadonlyMap<Need, boolean> = new Map([['nodes', hasManyNodes], ['lose', canLose], ['disconnect', canDisconnect], ['kill', canKill]])
  return needs.every((need) => able.get(need) ?? !unsupported.includes(need))
}
