import type { Clock } from '../util/clock.js'
import { messageOf } from './functions.js'
import type { Lease, Store } from './store.js'

/** Messages that may wait until an expired lease is renewed, and their size in bytes. */
const MAX_WAITING = 10_000
const MAX_WAITING_BYTES = 32 * 1024 * 1024
/** After an outage, the other nodes have at least this long to renew their leases, in milliseconds. */
const GRACE_MS = 5_000

export interface NodeLeaseOptions {
  readonly name: string
  readonly leaseMs: number
  readonly clock: Clock
  readonly store: Store
  /** Reads the revocations that this node has missed, and carries them out. */
  readonly catchUp: () => Promise<void>
  readonly handle: (channel: string, message: Buffer) => void
  /** Called when messages were dropped: they must be read from the store. */
  readonly onDropped: (reason: string) => void
}

/**
 * This node's lease. Once it has expired, the other nodes count this one as dead, and a revocation does not wait for it. So it handles
 * messages that arrive only after it has renewed the lease, and has read the revocations that it missed.
 */
export class NodeLease {
  readonly #options: NodeLeaseOptions
  #peers = new Set<string>()
  #renewedAt = -Infinity
  /** Time since which each renewal was in time. */
  #steadySince = Infinity
  /** Messages that wait. Undefined as long as the lease is valid. */
  #waiting: Array<readonly [channel: string, message: Buffer]> | undefined
  #waitingBytes = 0

  constructor (options: NodeLeaseOptions) {
    this.#options = options
  }

  /** The other living nodes, as of the latest renewal. */
  get peers (): ReadonlySet<string> {
    return this.#peers
  }

  addPeer (peer: string): void {
    if (peer !== this.#options.name) this.#peers.add(peer)
  }

  /** Whether renewals have come in time for long enough that an expired lease means a dead node, and no outage that concerned all. */
  get isSteady (): boolean {
    const { clock, leaseMs } = this.#options
    return clock.monotonic() - this.#steadySince >= Math.max(leaseMs / 3, GRACE_MS)
  }

  async renew (): Promise<Lease> {
    const { name, leaseMs, clock, store, catchUp } = this.#options
    const startedAt = clock.monotonic()
    if (startedAt - this.#renewedAt > leaseMs) this.#waiting ??= []
    const lease = await store.lease(leaseMs)
    // The leases of nodes that were as late have expired, although they live.
    if (clock.monotonic() - this.#renewedAt > leaseMs * 2 / 3) this.#steadySince = clock.monotonic()
    if (this.#waiting !== undefined) await catchUp()
    this.#renewedAt = startedAt
    this.#peers = new Set(lease.living.filter((living) => living !== name))
    for (const [channel, message] of this.#takeWaiting()) this.#options.handle(channel, message)
    return lease
  }

  /** Handles a message, at once if the lease is valid. */
  receive (channel: string, message: Buffer): void {
    const { clock, leaseMs, handle, onDropped } = this.#options
    if (this.#waiting === undefined && clock.monotonic() - this.#renewedAt > leaseMs) {
      this.#waiting = []
      this.renew().catch((error: unknown) => { onDropped(`the lease could not be renewed: ${messageOf(error)}`) })
    }
    if (this.#waiting === undefined) {
      handle(channel, message)
      return
    }
    this.#waiting.push([channel, message])
    this.#waitingBytes += message.length
    if (this.#waiting.length > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES) this.drop()
  }

  /** Drops the messages that wait, if any. */
  drop (): void {
    if (this.#waiting === undefined) return
    this.#takeWaiting()
    this.#options.onDropped('the lease could not be renewed')
  }

  #takeWaiting (): ReadonlyArray<readonly [channel: string, message: Buffer]> {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    this.#waitingBytes = 0
    return waiting
  }
}
