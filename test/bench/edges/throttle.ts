import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Starts a slow network: a TCP proxy that limits the server's bytes per second and forwards the client's bytes immediately. */
export async function throttle (serverPort: number, bytesPerSecond: number): Promise<{ port: number, close: () => void }> {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(serverPort, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream)
    void pass(upstream, client, bytesPerSecond)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  }
}

function readableOrClosed (socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('readable', done).off('close', done)
      resolve()
    }
    socket.on('readable', done).on('close', done)
  })
}

async function pass (from: Socket, to: Socket, bytesPerSecond: number): Promise<void> {
  const stepBytes = Math.max(1, Math.min(64 * 1024, Math.round(bytesPerSecond / 20)))
  while (!from.destroyed) {
    const length = Math.min(stepBytes, from.readableLength)
    if (length === 0) {
      if (from.readableEnded) return
      await readableOrClosed(from)
      continue
    }
    const chunk = from.read(length) as Buffer | null
    if (chunk === null) continue
    if (!to.destroyed) to.write(chunk)
    await sleep(chunk.length / bytesPerSecond * 1000)
  }
}
