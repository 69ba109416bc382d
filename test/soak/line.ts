import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/**
 * The network between one tab and the server: a TCP proxy on loopback. It can cut connections, stall them (both ends consider them
 * open), discard the data that is sent, and throttle.
 */
export class Line {
  readonly #server: Server
  readonly #target: () => number | undefined
  readonly #pairs = new Map<Socket, Socket>()
  #mode: 'open' | 'stalled' | 'swallowing' = 'open'
  #bytesPerSecond = Infinity

  /** `target` returns the server's port, or undefined while there is none. */
  private constructor (server: Server, target: () => number | undefined) {
    this.#server = server
    this.#target = target
    server.on('connection', (near) => { this.#accept(near) })
  }

  static async open (target: () => number | undefined): Promise<Line> {
    const server = createServer({ pauseOnConnect: true })
    const line = new Line(server, target)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return line
  }

  get port (): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Resets every connection: neither end gets a FIN or a close frame. */
  cut (): void {
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy()
      far.resetAndDestroy()
    }
  }

  /** Holds back all data until `heal`, which then delivers it. */
  stall (): void {
    this.#mode = 'stalled'
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
  }

  /** Makes the connections half-open: discards the data of both ends. `heal` resets these connections, because they lack bytes. */
  swallow (): void {
    this.#mode = 'swallowing'
  }

  /** Limits the rate of the server's data. */
  throttle (bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond
  }

  heal (): void {
    const wasSwallowing = this.#mode === 'swallowing'
    this.#mode = 'open'
    this.#bytesPerSecond = Infinity
    if (wasSwallowing) this.cut()
    for (const pair of this.#pairs) for (const socket of pair) socket.resume()
  }

  close (): void {
    this.cut()
    this.#server.close()
  }

  #accept (near: Socket): void {
    const port = this.#target()
    near.on('error', () => { /* the close event follows */ })
    if (port === undefined) {
      near.resetAndDestroy()
      return
    }
    const far = connect({ port, host: '127.0.0.1', noDelay: true })
    far.on('error', () => { /* the close event follows */ })
    this.#pairs.set(near, far)
    near.on('close', () => {
      this.#pairs.delete(near)
      far.destroy()
    })
    far.on('close', () => { near.destroySoon() })
    this.#pump(near, far, () => Infinity)
    this.#pump(far, near, () => this.#bytesPerSecond)
    if (this.#mode === 'stalled') far.pause()
    else near.resume()
  }

  #pump (from: Socket, to: Socket, bytesPerSecond: () => number): void {
    from.on('data', (chunk: Buffer) => {
      if (this.#mode === 'swallowing') return
      const isFull = !to.write(chunk)
      const ms = chunk.length / bytesPerSecond() * 1000
      if (!isFull && ms < 1) return
      from.pause()
      const resume = (): void => { if (this.#mode !== 'stalled') from.resume() }
      if (isFull) to.once('drain', resume)
      else setTimeout(resume, ms).unref()
    })
    from.on('end', () => { if (this.#mode === 'open') to.end() })
  }
}
