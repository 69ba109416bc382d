import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'

/** A local server to which the load generator writes one byte for each tick that it has received completely. */
export class Acknowledgements {
  port = 0
  #onTick: (() => void) | undefined

  async listen (): Promise<void> {
    const server = createServer((socket: Socket) => {
      socket.setNoDelay(true)
      socket.on('data', (bytes) => { bytes.forEach(() => { this.#onTick?.() }) })
      socket.on('error', () => { socket.destroy() })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    this.port = (server.address() as AddressInfo).port
  }

  listener (onTick: (() => void) | undefined): void {
    this.#onTick = onTick
  }
}
