import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

/** The network between a browser and the server. */
export interface Line {
  readonly port: number
  /**
   * Kills every open connection like a sleeping laptop does: the server's side is gone, and the browser is not notified. New
   * connections work.
   */
  die (): void
  /** Ends every open connection and notifies both sides. New connections work. */
  cut (): void
}

export async function layLine (t: Test, to: number): Promise<Line> {
  const pairs = new Map<Socket, Socket>()
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1')
    pairs.set(near, far)
    near.on('error', () => { far.destroy() })
    far.on('error', () => { near.destroy() })
    near.on('close', () => {
      pairs.delete(near)
      far.destroy()
    })
    near.pipe(far).pipe(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const near of pairs.keys()) near.destroy()
    server.close()
  })
  return {
    port: (server.address() as AddressInfo).port,
    die () {
      for (const [near, far] of pairs) {
        far.unpipe(near)
        near.unpipe(far)
        near.resume()
        far.destroy()
      }
    },
    cut () {
      for (const near of pairs.keys()) near.destroy()
    }
  }
}
