import type { BrokerNode, BrokerStatus, CancelResult, Publication, Stream } from '../../lib/streams/broker.js'
import { Wire, type Turns } from './bus-wire.js'

/** A call that travels to the store. */
export interface Call {
  /**
   * Determines what the call waits for after the store has lost history. A `publish` waits until its own node has published its
   * jobs again, and a `read` waits for all nodes. A publish that is `repeated` is one of those publications and waits for
   * nothing. A `control` call does not wait either.
   */
  readonly kind: 'publish' | 'repeated' | 'read' | 'control'
  /** When the connection breaks, if it does: before or after the execution. */
  readonly fails: 'before' | 'after' | undefined
  /** Returns a function that settles the call's promise. It is called when the result has arrived. */
  readonly execute: () => (() => void) | Promise<() => void>
  readonly reject: (error: Error) => void
}

/** The position of a node in a stream that it has joined. */
export interface Place {
  readonly stream: Stream
  readonly token: number
  /** Absent until a join has returned. */
  readonly revision: number | undefined
}

/** The methods of a node that the store calls when a message has arrived at the node. */
export interface Receiver extends Pick<BrokerNode, 'orphaned' | 'disowned' | 'revoke' | 'cancel' | 'answer'> {
  /** @param token Identifies the subscription: a node may have left and joined again. */
  deliver (stream: Stream, token: number, publication: Publication): number
  restarted (stream: Stream): void
  /** Restarts all joined streams. */
  restartedAll (): void
  reseed (): Promise<void>
  statusChanged (status: BrokerStatus): void
  places (): readonly Place[]
}

/** A node of the bus, and its connection to the store. */
export class BusMember {
  readonly name: string
  readonly uplink: Wire
  readonly downlink: Wire
  /** The subscriptions of the node, as the store knows them. */
  readonly joined = new Map<Stream, number>()
  /** Unsettled calls of the node, and those among them that are held back. */
  readonly calls = new Set<Call>()
  held: Call[] = []
  /** Cancels that the node has not carried out yet. */
  readonly cancels = new Set<(result: CancelResult) => void>()
  /** Notices that could not be sent. */
  missed: Array<() => void> = []
  receiver: Receiver | undefined
  /** Whether the network works, and whether the store sends deliveries. After a break, it sends them once the node has sent its places. */
  isLinked = true
  isConnected = false
  /** The newest incarnation that the node knows of. */
  incarnation = 0
  /** Number of entries of the control log that the node has carried out. */
  controlled = 0
  /** Number of the node's latest attempt to publish its jobs again. 0 if there is nothing left to publish. */
  reseeding = 0
  readonly #turns: Turns

  constructor (name: string, turns: Turns) {
    this.name = name
    this.#turns = turns
    this.uplink = new Wire(turns)
    this.downlink = new Wire(turns)
  }

  get wires (): Wire[] {
    return [this.uplink, this.downlink]
  }

  /** Whether other calls must wait until the node has published its jobs again. No call waits for a disconnected node. */
  get isReseeding (): boolean {
    return this.isConnected && this.reseeding > 0
  }

  /** Sends a message that must arrive, if necessary after the node has reconnected. */
  notify (open: (receiver: Receiver) => void): void {
    const arrive = (): void => { if (this.receiver !== undefined) open(this.receiver) }
    if (this.isConnected) this.downlink.send(arrive, true)
    else this.missed.push(arrive)
  }

  /** Sends a message that is lost if the connection breaks. */
  post (open: (receiver: Receiver) => void): void {
    if (this.isConnected) this.downlink.send(() => { if (this.receiver !== undefined) open(this.receiver) })
  }

  /** Settles a call after the node has received everything that was sent to it before. */
  settle (call: Call, settle: () => void): void {
    this.downlink.send(() => {
      this.#turns.later(() => { if (this.calls.delete(call)) settle() })
    })
  }

  /** Breaks the connection. */
  cut (): void {
    this.isLinked = this.isConnected = false
    this.uplink.cut()
    this.missed.push(...this.downlink.cut())
    this.held = []
    const calls = [...this.calls]
    this.calls.clear()
    for (const call of calls) call.reject(new Error('the connection to the store broke'))
    for (const cancelled of this.cancels) cancelled('failed')
    this.cancels.clear()
  }
}
