import type { Transport, TransportState } from '../../lib/delivery/transport.js'

/**
 * A fake transport that records what is written to it. While it is `stalled`, bytes stay in its buffer until `drain` is called.
 * Like a socket, it accepts writes even when it is full.
 */
export class FakeTransport implements Transport {
  state: TransportState = 1
  inflates = false
  announcesLargeMessages = false
  stalled = false
  /** The transport is full from this many buffered bytes. */
  writeAheadBytes = 64 * 1024
  /** The bytes of each write. */
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

  /** Fills the buffer, as if the peer read nothing from now on. */
  stall (): void {
    this.stalled = true
    this.#buffered = this.writeAheadBytes
  }

  /** Empties the buffer, as if the peer had read everything. */
  drain (): void {
    this.#buffered = 0
    for (const callback of this.#onceDrained.splice(0)) callback()
  }

  /** The texts of all complete, uncompressed messages that were written, in order. */
  get texts (): string[] {
    const bytes = Buffer.concat(this.writes)
    const texts: string[] = []
    let parts: Buffer[] = []
    for (let at = 0; at < bytes.length;) {
      if ((bytes[at]! & 0x7f) !== (parts.length === 0 ? 1 : 0)) throw new Error(`no plain text frame at byte ${at}`)
      const isLast = bytes[at]! >= 0x80
      const [header, length] = bytes[at + 1]! < 126 ? [2, bytes[at + 1]!] : [4, bytes.readUInt16BE(at + 2)]
      parts.push(bytes.subarray(at + header, at + header + length))
      if (isLast) texts.push(Buffer.concat(parts).toString())
      if (isLast) parts = []
      at += header + length
    }
    return texts
  }
}
