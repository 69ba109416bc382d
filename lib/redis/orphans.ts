import type { BrokerNode } from '../streams/broker.js'
import type { OrphanedJob, Store } from './store.js'

/** Finds the running jobs that no living node runs, and reports each of them once. */
export class Orphans {
  readonly #node: BrokerNode
  readonly #store: Store
  #reported = new Set<string>()

  constructor (node: BrokerNode, store: Store) {
    this.#node = node
    this.#store = store
  }

  async check (expired: readonly string[]): Promise<void> {
    const found = await this.#store.orphans(expired)
    const before = this.#reported
    this.#reported = new Set(found.map(keyOf))
    for (const job of found) if (!before.has(keyOf(job))) this.#node.orphaned(job.stream, job.jobId, job.ownership)
  }
}

function keyOf ({ stream, jobId, ownership }: OrphanedJob): string {
  return JSON.stringify([stream, jobId, ownership])
}
