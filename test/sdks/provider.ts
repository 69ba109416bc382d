import { createServer, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { Wire } from './scenario.js'

export interface Provider {
  readonly url: string
  /** Number of requests that the provider has received. */
  readonly requests: number
  /** The latest response whose end is `open`. */
  readonly open: ServerResponse | undefined
  /** Resolves with the first response whose end is `open`. */
  readonly opened: Promise<ServerResponse>
  close (): void
}

/** Starts a local server that responds to requests on any path. It sends the last response of a wire to all further requests, too. */
export async function startProvider (wire: Wire): Promise<Provider> {
  let requests = 0
  let open: ServerResponse | undefined
  let next = wire
  let resolve: (response: ServerResponse) => void
  const opened = new Promise<ServerResponse>((resolveOpened) => { resolve = resolveOpened })
  const server = createServer((request, response) => {
    requests++
    const current = next
    next = current.next ?? current
    if (current.end === 'open') resolve(open = response)
    request.resume()
    request.once('end', () => { void respond(response, current) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get requests () { return requests },
    get open () { return open },
    opened,
    close: () => {
      server.close()
      server.closeAllConnections()
    }
  }
}

async function respond (response: ServerResponse, { status = 200, headers = {}, body, end = 'close' }: Wire): Promise<void> {
  // Some SDKs put the headers into their chunks, which are recorded and must not contain a date.
  response.sendDate = false
  response.writeHead(status, headers)
  for (const part of body) {
    response.write(part)
    await turn()
  }
  if (end === 'close') response.end()
  // The written data must arrive before the cut.
  else if (end === 'cut') setTimeout(() => { response.destroy() }, 50)
}
