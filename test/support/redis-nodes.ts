import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { RedisOptions } from 'ioredis'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { createClient, type Client } from 'ai-canvas-ws/client'
import type { Receipt } from '../../lib/index.js'
import type { Metrics } from '../../lib/manager/stats.js'
import { runScript, type Child } from './child.js'
import { RedisServer, withoutRedis } from './redis-server.js'
import type { NodeCommand, NodeEvent, NodeSettings } from './scripts/redis-node.js'
import { until } from './until.js'

export const nodesOptions = { skip: withoutRedis, timeout: 90_000 }

/** Starts a server that ends with the test. */
export async function startRedis (t: Test, ...args: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(...args)
  t.teardown(() => server.stop())
  return server
}

/** Starts several nodes at once. */
export function startNodes (t: Test, { port }: { readonly port: number }, count: number, settings: Partial<NodeSettings> = {}): Promise<NodeProcess[]> {
  return Promise.all(Array.from({ length: count }, () => NodeProcess.start(t, { host: '127.0.0.1', port }, settings)))
}

interface Outcome {
  readonly result?: unknown
  readonly error?: string
  /** How long the call took in the node's process, in milliseconds. */
  readonly ms: number
}

/** An app over Redis in a process of its own. */
export class NodeProcess {
  readonly url: string
  /** The notes that the broker has accepted from `produce`. */
  readonly accepted: string[] = []
  readonly exited: Child['exited']
  readonly #child: Child
  readonly #calls = new Map<number, (outcome: Outcome) => void>()
  #id = 0

  private constructor (child: Child, url: string) {
    this.#child = child
    this.url = url
    this.exited = child.exited
    void this.#read()
  }

  static async start (t: Test, redis: RedisOptions, settings: Partial<NodeSettings> = {}): Promise<NodeProcess> {
    const child = runScript(t, new URL('./scripts/redis-node.ts', import.meta.url), { NODE_SETTINGS: JSON.stringify({ redis, leaseMs: 3_000, ...settings } satisfies NodeSettings) })
    const ready = JSON.parse(await child.next()) as Extract<NodeEvent, { type: 'ready' }>
    return new NodeProcess(child, ready.url)
  }

  /** Calls a method of the manager. Resolves with its outcome, even if the call fails. */
  attempt (method: string, ...args: unknown[]): Promise<Outcome> {
    const id = ++this.#id
    return new Promise((resolve) => {
      this.#calls.set(id, resolve)
      this.#child.write(JSON.stringify({ id, method, args } satisfies NodeCommand))
    })
  }

  /** Calls a method of the manager. Rejects if the call fails. */
  async call (method: string, ...args: unknown[]): Promise<any> {
    const { result, error } = await this.attempt(method, ...args)
    if (error !== undefined) throw new Error(error)
    return result
  }

  start (jobId: string, task: object = {}): Promise<Receipt> {
    return this.call('notifyAIStart', 's', task, { jobId })
  }

  progress (jobId: string, delta: string): Promise<Outcome> {
    return this.attempt('notifyAIProgress', 's', { delta }, { jobId })
  }

  complete (jobId: string, result: object = {}): Promise<Receipt> {
    return this.call('notifyAIComplete', 's', result, { jobId })
  }

  async state (): Promise<Metrics['broker']['state']> {
    return (await this.call('getMetrics') as Metrics).broker.state
  }

  async isReady (): Promise<boolean> {
    return await this.state() === 'ready'
  }

  signal (name: NodeJS.Signals): void {
    this.#child.process.kill(name)
  }

  /** Ends the process at once. */
  async kill (): Promise<void> {
    this.signal('SIGKILL')
    await this.exited
  }

  /** Closes the app, as a deploy does, and ends the process. */
  async stop (): Promise<void> {
    await this.call('close')
    await this.kill()
  }

  async #read (): Promise<void> {
    for (;;) {
      let line: string
      try {
        line = await this.#child.next()
      } catch {
        for (const settle of this.#calls.values()) settle({ error: 'the process has ended', ms: NaN })
        return
      }
      const event = JSON.parse(line) as NodeEvent
      if (event.type === 'accepted') this.accepted.push(event.n)
      if (event.type !== 'result') continue
      this.#calls.get(event.id)?.(event)
      this.#calls.delete(event.id)
    }
  }
}

/** A load balancer that passes connections to the living nodes in turn. */
export class Balancer {
  readonly nodes: NodeProcess[] = []
  readonly url: string
  #turn = 0

  private constructor (port: number) {
    this.url = `ws://127.0.0.1:${port}/ws`
  }

  static async start (t: Test): Promise<Balancer> {
    const sockets = new Set<Socket>()
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    const balancer = new Balancer((server.address() as AddressInfo).port)
    server.on('connection', (socket) => {
      const node = balancer.nodes[balancer.#turn++ % Math.max(1, balancer.nodes.length)]
      if (node === undefined) {
        socket.destroy()
        return
      }
      const other = connect(Number(new URL(node.url).port), '127.0.0.1')
      for (const [from, to] of [[socket, other], [other, socket]] as const) {
        sockets.add(from)
        from.pipe(to)
        from.on('error', () => undefined).on('close', () => {
          sockets.delete(from)
          to.destroy()
        })
      }
    })
    return balancer
  }

  add (...nodes: NodeProcess[]): void {
    this.nodes.push(...nodes)
  }

  remove (node: NodeProcess): void {
    this.nodes.splice(this.nodes.indexOf(node), 1)
  }
}

/** A client of the package that records what it receives in the session `s`. */
export class Follower {
  readonly client: Client
  /** The notes, in the order of their arrival. */
  readonly notes: string[] = []
  /** The ends of jobs, as `ai_complete j`, with the type of an error. */
  readonly ends: string[] = []
  readonly gaps: string[] = []
  closes = 0

  private constructor (client: Client) {
    this.client = client
    client.on('message', (message) => {
      const { type, n, jobId, error } = message as { type: string, n?: string, jobId?: string, error?: { type: string } }
      if (type === 'note' && n !== undefined) this.notes.push(n)
      if (type === 'ai_complete' || type === 'ai_error') this.ends.push([type, jobId, error?.type].filter((word) => word !== undefined).join(' '))
    })
    client.on('gap', ({ reason }) => { this.gaps.push(reason) })
    client.on('close', () => { this.closes++ })
  }

  static async of (t: Test, { url }: { readonly url: string }, query = ''): Promise<Follower> {
    const client = createClient({
      url: url + query, WebSocket, sessionId: 's', reconnectInterval: 20, maxReconnectIntervalMs: 200, maxReconnectAttempts: 10_000
    })
    t.teardown(() => { client.close() })
    const follower = new Follower(client)
    client.connect()
    await until(() => client.jobStore('s').getSnapshot().isKnown)
    return follower
  }
}

export interface Produced {
  readonly accepted: readonly string[]
  readonly followers: readonly Follower[]
}

/** Waits until all followers have all accepted notes, and checks that they have the same ones, once, in one order. */
export async function checkNotes (t: Test, { accepted, followers }: Produced): Promise<void> {
  const [first] = followers
  if (first === undefined) throw new Error('there is no follower')
  for (const { notes } of followers) {
    const missing = new Set(accepted)
    let taken = 0
    await until(() => {
      for (; taken < notes.length; taken++) missing.delete(notes[taken]!)
      return missing.size === 0
    })
  }
  const longest = Math.max(...followers.map(({ notes }) => notes.length))
  await until(() => followers.every(({ notes }) => notes.length >= longest))
  t.equal(new Set(first.notes).size, first.notes.length, 'nothing came twice')
  for (const { notes, gaps } of followers) {
    t.same(notes, first.notes, 'all readers have one order')
    t.same(gaps, [], 'nothing is missing')
  }
}
