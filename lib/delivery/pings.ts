import { randomBytes } from 'node:crypto'
import { FRAGMENT_BYTES } from './frame.js'
import type { Transport } from './transport.js'

/**
 * While the client is behind, a probe follows the write that brings the bytes since the last probe to this number. The kernel
 * may buffer megabytes, which a slow client needs minutes to read. Its pongs show that it is alive and still reading.
 */
const PROBE_EVERY_BYTES_BEHIND = FRAGMENT_BYTES / 2
/** The same for a client that keeps up. Its data may still be in the kernel's buffer, but fewer probes are enough. */
const PROBE_EVERY_BYTES = 4 * FRAGMENT_BYTES
/** Maximum number of probes in flight that are remembered: the latest ones. */
const MAX_PROBES = 64
const PAYLOAD_BYTES = 8
const NO_PROBES: readonly string[] = []

/**
 * What a pong means. `unsolicited`: no ping was in flight. `alive`: it may answer a ping. `read`: it answers a probe, so the
 * client has read everything before the probe.
 */
export type Pong = 'unsolicited' | 'alive' | 'read'

/**
 * The pings of one connection. Some are probes: they follow the data, and their random payloads can't be guessed. A pong with
 * such a payload proves that the client has read all data before it.
 */
export class Pings {
  readonly #transport: Transport
  /** Number of pings in flight. */
  #inFlight = 0
  /** Payloads of the probes in flight, oldest first. */
  #probes = NO_PROBES
  /** Bytes written since the last probe. */
  #unprobedBytes = 0

  constructor (transport: Transport) {
    this.#transport = transport
  }

  /** Sends a ping, if the transport supports it. */
  send (payload: Buffer): void {
    if (this.#transport.ping === undefined) return
    this.#inFlight++
    this.#transport.ping(payload)
  }

  /** Sends a probe after a write, if enough was written since the last one. */
  probe (writtenBytes: number, isBehind: boolean): void {
    this.#unprobedBytes += writtenBytes
    if (this.#unprobedBytes < (isBehind ? PROBE_EVERY_BYTES_BEHIND : PROBE_EVERY_BYTES) || this.#transport.ping === undefined) return
    this.#unprobedBytes = 0
    const payload = randomBytes(PAYLOAD_BYTES)
    this.#probes = [...this.#probes.slice(1 - MAX_PROBES), payload.toString('latin1')]
    this.send(payload)
  }

  handlePong (payload: Buffer): Pong {
    if (this.#inFlight === 0) return 'unsolicited'
    this.#inFlight--
    const answered = this.#probes.indexOf(payload.toString('latin1'))
    if (answered < 0) return 'alive'
    // A peer may answer only the latest of several pings (RFC 6455, section 5.5.3).
    this.#probes = this.#probes.slice(answered + 1)
    return 'read'
  }
}
