import type { Transport, TransportState } from '../../lib/delivery/transport.js'

/**
 * A transport that notes what it is given. While `stalled` nothing drains: bytes pile up until `drain`. Like a socket, it
 * takes what is written even when it is full.
 */
export class FakeTransport implements Transport {
  state: TransportState = 1
  inflates = false
  stalled = false
  /** From this many unread bytes on it is full. */
  writeAheadBytes = 64 * 1024
  /** Each write's bytes. */
  readonly writes: Buffer[] = []
  readonly pings: Buffer[] = []
  closedWith: { code: number, reason: string } | undefined
  terminated = false
  #buffered = 0
  #onceDrained: Array<() => void> = []

  get bufferedBytes (): number { return this.#buffered }
  get full (): boolean { return this.#buffered >= this.writeAheadBytes }

  write (bytes: Buffer): void {
    if (this.state !== 1) return
    this.writes.push(bytes)
    if (this.stalled) this.#buffered += bytes.length
  }

  onceDrained (callback: () => void): void {
    this.#onceDrained.push(callback)
  }

  ping?: (payload: Buffer) => void = (payload) => { this.pings.push(payload) }

  close (code: number, reason: string): void {
    if (this.state === 1) this.state = 2
    this.closedWith ??= { code, reason }
  }

  terminate (): void {
    this.state = 3
    this.terminated = true
  }

  /** The peer has read everything. */
  drain (): void {
    this.#buffered = 0
    for (const callback of this.#onceDrained.splice(0)) callback()
  }

  /** The texts of all plain frames that were written, in order. */
  get texts (): string[] {
    const bytes = Buffer.concat(this.writes)
    const texts: string[] = []
    for (let at = 0; at < bytes.length;) {
      if (bytes[at] !== 0x81) throw new Error(`no plain text frame at byte ${at}`)
      let length = bytes[at + 1]!
      let header = 2
      if (length === 126) {
        length = bytes.readUInt16BE(at + 2)
        header = 4
      } else if (length === 127) {
        length = Number(bytes.readBigUInt64BE(at + 2))
        header = 10
      }
      texts.push(bytes.toString('utf8', at + header, at + header + length))
      at += header + length
    }
    return texts
  }
}
