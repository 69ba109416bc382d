import type { BrokerNode, BrokerStatus, CancelResult, Publication, Stream } from '../../lib/streams/broker.js'
import { Wire, type Turns } from './bus-wire.js'

/** A call that travels to the store. */
export interface Call {
  /**
   * What it waits for after the store has lost history: a `publish` for its own node, to publish its jobs again, and a `read` for
   * all nodes. A publish that is `repeated` is a part of that, and waits for nothing. Nor does `control`.
   */
  readonly kind: 'publish' | 'repeated' | 'read' | 'control'
  /** Whether the connection breaks, before or after the execution. */
  readonly fails: 'before' | 'after' | undefined
  /** Returns a function that settles the call's promise. It is called when the result has arrived. */
  readonly execute: () => (() => void) | Promise<() => void>
  readonly reject: (error: Error) => void
}

/** How far a node has got in a stream that it has joined. */
export interface Place {
  readonly stream: Stream
  readonly token: number
  /** Absent until a join has returned. */
  readonly revision: number | undefined
}

/** A node, as the store calls it when a message has arrived there. */
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
  /** Its subscriptions, as the store knows them. */
  readonly joined = new Map<Stream, number>()
  /** Its calls that are not settled, and those of them that are held back. */
  readonly calls = new Set<Call>()
  held: Call[] = []
  /** Cancels that it has not carried out yet. */
  readonly cancels = new Set<(result: CancelResult) => void>()
  /** Notices that could not be sent. */
  missed: Array<() => void> = []
  receiver: Receiver | undefined
  /** Whether the network works, and whether the store sends deliveries: after a break, only once the node has told its places. */
  isLinked = true
  isConnected = false
  /** The newest incarnation that the node knows of. */
  incarnation = 0
  /** How much of the control log it has carried out. */
  controlled = 0
  /** Number of the latest attempt to publish its jobs again. 0 if there is none left to do. */
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

  /** Whether other calls must wait until it has published its jobs again. A node that is cut off keeps nobody waiting. */
  get isReseeding (): boolean {
    return this.isConnected && this.reseeding > 0
  }

  /** Sends something that must arrive, if need be after a break of the connection. */
  notify (open: (receiver: Receiver) => void): void {
    const arrive = (): void => { if (this.receiver !== undefined) open(this.receiver) }
    if (this.isConnected) this.downlink.send(arrive, true)
    else this.missed.push(arrive)
  }

  /** Sends something that is lost if the connection breaks. */
  post (open: (receiver: Receiver) => void): void {
    if (this.isConnected) this.downlink.send(() => { if (this.receiver !== undefined) open(this.receiver) })
  }

  /** Settles a call after everything that was sent to the node until now. */
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
